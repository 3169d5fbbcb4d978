//! Measures a host: `cargo run --release -p coast-ssh --example throughput -- [USER@]HOST[:PORT] [KEY]` prints how long
//! connecting takes and how many MiB/s go each way.

use coast_ssh::{ConnectOptions, NoPrompt, Session, Target};
use std::error::Error;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const LEN: usize = 2 << 30;
const BLOCK_BYTES: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let target = args.next().and_then(|text| Target::parse(&text)).ok_or("which host?")?;
    let mut options = ConnectOptions::default();
    options.identities.extend(args.next().map(Into::into));

    let started = Instant::now();
    let session = Session::connect(&target, &options, &NoPrompt)?;
    println!("connect {:.0} ms", started.elapsed().as_secs_f64() * 1e3);

    let block = vec![b'x'; BLOCK_BYTES];
    let started = Instant::now();
    let mut channel = session.exec(b"cat >/dev/null")?;
    for _ in 0..LEN / BLOCK_BYTES {
        channel.writer.write_all(&block)?;
    }
    channel.output()?;
    println!("up      {:.0} MiB/s", rate(started.elapsed()));

    let started = Instant::now();
    let (mut reader, _writer, _status) = session.exec(format!("head -c {LEN} /dev/zero").as_bytes())?.split();
    let mut block = vec![0; BLOCK_BYTES];
    while reader.read(&mut block)? > 0 {}
    println!("down    {:.0} MiB/s", rate(started.elapsed()));
    Ok(())
}

/// MiB/s.
fn rate(elapsed: Duration) -> f64 {
    (LEN >> 20) as f64 / elapsed.as_secs_f64()
}
