//! Records, printed.

use std::io::{self, Write};

use twal::txn::event::name_of;
use twal::{IterOptions, Record};

use crate::cli::{FilterArgs, Format, FormatArgs};
use crate::exit::Failure;
use crate::output::{hex, visible, Json, Out};

/// Bytes in a line of hexadecimal digits.
const BYTES: usize = 16;
/// First type that is the program's.
const FIRST_OF_PROGRAM: u16 = 0x0100;

/// What a reader is asked for.
pub fn filtered(filter: &FilterArgs, format: &FormatArgs) -> Result<IterOptions, Failure> {
    if format.headers_only && format.format == Format::Raw {
        return Err(Failure::usage("headers alone have no payloads to print raw"));
    }
    let some = |given: bool| given.then_some(());
    Ok(IterOptions {
        streams: some(!filter.stream.is_empty()).map(|()| filter.stream.clone()),
        kinds: some(!filter.kind.is_empty()).map(|()| filter.kind.clone()),
        headers_only: format.headers_only,
        ..IterOptions::default()
    })
}

pub fn print(out: &mut Out, record: &Record<'_>, args: &FormatArgs) -> io::Result<()> {
    match args.format {
        Format::Raw => out.write_all(record.data),
        Format::Json => writeln!(out, "{}", json(record, args.headers_only)),
        Format::Hex => {
            head(out, record)?;
            for (line, bytes) in record.data.chunks(BYTES).enumerate() {
                let pairs: Vec<String> = bytes.iter().map(|byte| hex(&[*byte])).collect();
                let shown = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' };
                let text: String = bytes.iter().map(shown).collect();
                writeln!(out, "    {:08x}  {:47}  |{text}|", line * BYTES, pairs.join(" "))?;
            }
            Ok(())
        }
        Format::Utf8 => {
            head(out, record)?;
            visible(record.data).lines().try_for_each(|line| writeln!(out, "    {line}"))
        }
    }
}

fn head(out: &mut Out, record: &Record<'_>) -> io::Result<()> {
    write!(out, "{}  stream {}  type {:#06x}", record.seq, record.stream, record.kind)?;
    if record.kind < FIRST_OF_PROGRAM {
        write!(out, " ({})", name_of(record.kind))?;
    }
    write!(out, "  timestamp {}  len {}", record.timestamp, record.len)?;
    if record.required {
        write!(out, "  required")?;
    }
    if record.batch_continues {
        write!(out, "  batch continues")?;
    }
    writeln!(out)
}

/// As tests/format_reader.py prints it.
fn json(record: &Record<'_>, head_only: bool) -> String {
    let flags = u8::from(record.required) | u8::from(record.batch_continues) << 1;
    let json = Json::new()
        .put("seq", record.seq)
        .put("stream", record.stream)
        .put("timestamp", record.timestamp)
        .put("type", record.kind)
        .put("flags", flags)
        .put("len", record.len);
    match head_only {
        true => json.end(),
        false => json.text("payload", hex(record.data)).end(),
    }
}
