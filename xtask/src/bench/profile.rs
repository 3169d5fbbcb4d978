//! Where the processor time of a push goes: samples of perf, counted by stage. A stage is told by the innermost function of a
//! sample's call chain whose name is in a table.

use super::measure::{Peak, Run, Side};
use super::pipeline::Pipeline;
use crate::program;
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Samples of each core in a second: enough for one percent of a run of a second. No multiple of the kernel's own clock.
const SAMPLES_PER_SECOND: &str = "997";

/// A stage, and what the names of its functions contain.
type Stage = (&'static str, &'static [&'static str]);

/// The first match in this order counts for a function.
const STAGES: [Stage; 18] = [
    ("hash", &["blake3"]),
    // Functions of zrip are inlined into the one that decodes a frame.
    (
        "decompress",
        &["zrip_decode", "huffman::decode", "build_decode_table", "coast_wire::frame::Frame::decode"],
    ),
    ("compress", &["zrip", "structured_zstd", "coast_wire::compress", "coast_wire::level"]),
    ("cipher", &["aes_", "aesni", "ghash", "gcm", "chacha20", "poly1305", "ring::"]),
    (
        "SSH",
        &[
            "russh",
            "coast_ssh",
            "ssh_",
            "tokio",
            "coast_helper::input",
            "coast_helper::joining",
            "coast_wire::stripes",
            "coast_sync::streams",
        ],
    ),
    ("git", &["gix_", "coast_git"]),
    ("filter", &["coast_filter"]),
    ("delta", &["coast_delta", "fast_rsync"]),
    ("cache", &["coast_tree::cache", "coast_engine::cache"]),
    ("walk", &["coast_tree::walk", "coast_engine::sender::walker"]),
    ("read", &["coast_engine::sender::reading", "coast_tree::regular_file"]),
    ("offer", &["coast_engine::sender::offer", "coast_engine::sender::digests", "coast_engine::digest"]),
    ("answer", &["coast_engine::sender"]),
    ("examine", &["coast_engine::receiver::transfer::examine", "coast_engine::receiver::transfer::compare"]),
    ("stage and rename", &["coast_engine::receiver::target"]),
    ("delete", &["coast_engine::receiver::deletion"]),
    ("receive", &["coast_engine::receiver"]),
    ("messages", &["coast_wire", "postcard", "coast_engine"]),
];
/// What counts for a call chain that has nothing of the above: these functions serve several stages.
const SHARED: [Stage; 2] = [("files", &["coast_tree"]), ("start", &["coast_", "clap"])];
/// Samples without a function of the table.
const UNKNOWN: &str = "other";

/// The shares of a run's samples.
#[derive(Serialize)]
pub(crate) struct Profile {
    /// The samples of all processes of the run.
    samples: u32,
    /// The largest first.
    pub(crate) shares: Vec<Share>,
}

/// The share of one stage of one program.
#[derive(Serialize, Debug, PartialEq)]
pub(crate) struct Share {
    pub(crate) side: Side,
    pub(crate) program: String,
    pub(crate) stage: &'static str,
    pub(crate) percent: f64,
    /// What of it was spent in the kernel.
    pub(crate) kernel_percent: f64,
}

/// `client`, watched by perf, which writes its samples of the whole machine to `data`.
pub(crate) fn watched(client: Pipeline, data: &Path) -> Pipeline {
    let mut perf = Command::new("perf");
    perf.args(["record", "--quiet", "--all-cpus", "--event", "cpu-clock", "--freq", SAMPLES_PER_SECOND]);
    perf.args(["--call-graph", "fp", "--output"]).arg(data);
    client.started_by(perf)
}

impl Profile {
    /// Reads the samples of the processes of `run` from `data`. They are left as text, too: the helper, whose file has the names
    /// of its functions, is gone after the bench.
    pub(crate) fn read(data: &Path, run: &Run) -> Result<Self> {
        let mut script = Command::new("perf");
        script.args(["script", "--fields", "comm,pid,ip,sym", "--input"]).arg(data);
        let script = program::output(&mut script)?;
        let text = data.with_extension("txt");
        fs::write(&text, &script).with_context(|| format!("writing {}", text.display()))?;
        let profile = Self::of(&script, &run.processes);
        ensure!(
            profile.shares.iter().any(|share| share.stage != UNKNOWN),
            "no function of coast has a name in {}: leave --coast out, or name a program with symbols and frame pointers",
            data.display()
        );
        Ok(profile)
    }

    fn of(script: &str, processes: &[Peak]) -> Self {
        let mut counts: BTreeMap<(Side, &str, &'static str), (u32, u32)> = BTreeMap::new();
        let mut samples = 0;
        for sample in script.split("\n\n") {
            let mut lines = sample.trim_start_matches('\n').lines();
            // The name of the thread, which may have blanks, and the process.
            let pid = lines.next().and_then(|line| line.split_whitespace().next_back()?.parse::<u32>().ok());
            // The last name of a process is that of the program that it became.
            let Some(process) = processes.iter().rfind(|process| Some(process.pid) == pid) else { continue };
            let chain: Vec<(&str, &str)> =
                lines.filter_map(|line| line.trim_start().split_once(' ')).collect();
            let count = counts.entry((process.side, &process.name, stage_of(&chain))).or_default();
            count.0 += 1;
            count.1 += u32::from(chain.first().is_some_and(|(address, _)| is_in_kernel(address)));
            samples += 1;
        }
        let percent = |count: u32| f64::from(count) * 100.0 / f64::from(samples);
        let mut shares: Vec<Share> = counts
            .into_iter()
            .map(|((side, program, stage), (all, kernel))| Share {
                side,
                program: program.to_owned(),
                stage,
                percent: percent(all),
                kernel_percent: percent(kernel),
            })
            .collect();
        shares.sort_by(|one, other| other.percent.total_cmp(&one.percent));
        Self { samples, shares }
    }
}

/// The stage of a call chain, whose innermost function comes first.
fn stage_of(chain: &[(&str, &str)]) -> &'static str {
    let find = |stages: &[Stage]| {
        let functions = chain.iter().filter(|(address, _)| !is_in_kernel(address)).map(|(_, name)| name);
        let of_function =
            |name: &&str| stages.iter().find(|(_, parts)| parts.iter().any(|part| name.contains(part)));
        functions.filter_map(of_function).next().map(|(stage, _)| *stage)
    };
    find(&STAGES).or_else(|| find(&SHARED)).unwrap_or(UNKNOWN)
}

/// The kernel has the upper half of the addresses.
fn is_in_kernel(address: &str) -> bool {
    address.len() == 16 && address.starts_with(|digit| digit >= '8')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peak(pid: u32, side: Side, name: &str) -> Peak {
        Peak { side, pid, name: name.to_owned(), peak_bytes: 0 }
    }

    const SCRIPT: &str = concat!(
        "coast 10 \n\tffffffff81000000 vfs_read\n\t    55d0c0a0 std::fs::read\n",
        "\t    55d0c0a1 coast_engine::sender::reading::read\n\n",
        "a thread 10 \n\t    55d0c0a0 blake3_hash_many_avx2\n",
        "\t    55d0c0a1 coast_engine::sender::reading::read\n\n",
        "sshd 11 \n\t    55d0c0a0 [unknown]\n\n",
        "coast 12 \n\t    55d0c0a0 blake3_hash_many_avx2\n\n",
    );

    #[test]
    fn innermost_known_function_tells_the_stage_and_other_processes_do_not_count() {
        let processes = [peak(10, Side::Client, "coast"), peak(11, Side::Remote, "sshd")];
        let profile = Profile::of(SCRIPT, &processes);
        assert_eq!(profile.samples, 3);
        let find = |stage| profile.shares.iter().find(|share| share.stage == stage).unwrap();
        let read = find("read");
        assert_eq!(
            (read.side, read.percent.round(), read.kernel_percent.round()),
            (Side::Client, 33.0, 33.0)
        );
        assert_eq!(find("hash").kernel_percent, 0.0);
        assert_eq!(find(UNKNOWN).program, "sshd");
    }
}
