//! Shared libraries that are loaded if they are there, so that building needs none of them.

use std::ffi::{c_void, CStr, CString};
use std::path::{Path, PathBuf};

/// A library that stays loaded until the process ends.
pub struct Library(*mut c_void);

impl Library {
    /// The first of `names` that the loader finds.
    pub fn open(names: &[&str]) -> Result<Self, String> {
        let mut reason = String::new();
        for name in names {
            let c_name = CString::new(*name).map_err(|error| error.to_string())?;
            // SAFETY: the name ends in a zero byte; the libraries named here are made to be loaded.
            let handle = unsafe { libc::dlopen(c_name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
            if !handle.is_null() {
                return Ok(Library(handle));
            }
            // SAFETY: after a failed dlopen this is a string, good until the next call.
            reason = unsafe { CStr::from_ptr(libc::dlerror()) }.to_string_lossy().into_owned();
        }
        Err(reason)
    }

    /// The address of `name`.
    pub fn symbol(&self, name: &CStr) -> Result<*mut c_void, String> {
        // SAFETY: the handle is one of dlopen's, the name ends in a zero byte.
        let address = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        if address.is_null() {
            return Err(format!("it has no {}", name.to_string_lossy()));
        }
        Ok(address)
    }

    /// The file that the function or variable at `address` came from, links followed.
    pub fn file_of(address: *const c_void) -> Option<PathBuf> {
        // SAFETY: Dl_info is pointers and numbers; all zero is a value of it.
        let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
        // SAFETY: `info` is writable; any address may be asked about.
        if unsafe { libc::dladdr(address, &mut info) } == 0 || info.dli_fname.is_null() {
            return None;
        }
        // SAFETY: dladdr filled it with a string that lives as long as the library.
        let name = unsafe { CStr::from_ptr(info.dli_fname) };
        Path::new(name.to_str().ok()?).canonicalize().ok()
    }
}

/// A struct of C functions and a `load` that finds all of them by their names.
macro_rules! functions {
    ($(#[$attribute:meta])* struct $name:ident from $prefix:literal {
        $(fn $function:ident($($argument:ty),* $(,)?) $(-> $result:ty)?;)*
    }) => {
        $(#[$attribute])*
        struct $name {
            $($function: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl $name {
            fn load(library: &$crate::dynamic::Library) -> Result<Self, String> {
                Ok($name {
                    $($function: {
                        let symbol = concat!($prefix, stringify!($function), "\0");
                        let symbol = std::ffi::CStr::from_bytes_with_nul(symbol.as_bytes());
                        let address = library.symbol(symbol.expect("ends in its only zero byte"))?;
                        // SAFETY: the declaration repeats that of the library's header.
                        unsafe {
                            std::mem::transmute::<
                                *mut std::ffi::c_void,
                                unsafe extern "C" fn($($argument),*) $(-> $result)?,
                            >(address)
                        }
                    },)*
                })
            }
        }
    };
}
pub(crate) use functions;
