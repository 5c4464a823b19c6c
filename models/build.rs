fn main() {
    // For the library's files that are compiled here.
    println!("cargo:rustc-cfg=loom");
}
