//! `picnic doctor`: what this machine gives Picnic to work with, measured in about two seconds, and what makes it slow.
//!
//! Left out: graphics processors, which Picnic does not use, and the speed of whole models (`picnic bench`).

mod measure;

use crate::output::line;
use anyhow::{Context, Result};
use clap::Args;
use picnic_model::backend::MEMORY_LIMIT;
use picnic_model::kernels::Isa;
use picnic_train::place::HAS_NANO;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use sysinfo::{CpuRefreshKind, DiskRefreshKind, Disks, MemoryRefreshKind, RefreshKind, System};

/// Arguments of `picnic doctor`.
#[derive(Args)]
pub struct DoctorArgs {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// How long each instruction set is measured on one thread, the fastest on all, and the memory.
const ON_ONE: Duration = Duration::from_millis(200);
const ON_ALL: Duration = Duration::from_millis(500);
const MEMORY: Duration = Duration::from_millis(300);

/// Free bytes below which the folder of a run or temporary files may fill up.
const LITTLE_DISK: u64 = 1 << 30;

/// Free bytes below which the default recipe may not fit beside other programs; it takes 0.4 GB (README.md).
const LITTLE_MEMORY: u64 = 1 << 30;

/// A share of the speed that the cores have alone, below which they are not to themselves.
const SHARED: f64 = 0.7;

/// What was found. Where the system does not say, there is `None`.
struct Machine {
    processor: Option<String>,
    /// Cores, and the threads that they run at once.
    cores: Option<usize>,
    logical: usize,
    /// Threads that this process may have at once, by affinity and control group.
    threads: usize,
    /// Each instruction set, slowest first, with the GFLOP/s of one thread.
    products: Vec<(Isa, f64)>,
    /// GFLOP/s of all threads with the instructions in use.
    product: f64,
    memory: u64,
    memory_available: u64,
    /// What a control group leaves of it.
    memory_limit: Option<u64>,
    bandwidth: Option<f64>,
    /// Temporary files, and the folder in which the program runs.
    folders: [Folder; 2],
}

struct Folder {
    purpose: &'static str,
    path: PathBuf,
    free: Option<u64>,
}

/// How this program was built.
const BUILD: [(&str, &str); 4] = [
    ("version", env!("CARGO_PKG_VERSION")),
    ("profile", env!("PICNIC_PROFILE")),
    ("opt_level", env!("PICNIC_OPT_LEVEL")),
    ("target", env!("PICNIC_TARGET")),
];

/// Bytes a second that `threads` threads read from memory; `None` if there is too little of it, or nobody says how much.
pub fn memory_bandwidth(threads: usize) -> Option<f64> {
    let kinds = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(kinds).ok()?;
    measure::bandwidth(threads, available(&system), MEMORY).map(|rate| 1e9 * rate)
}

/// Bytes that this process can still get, as the system and its control group say.
fn available(system: &System) -> u64 {
    let available = system.available_memory();
    system.cgroup_limits().map_or(available, |limits| available.min(limits.free_memory))
}

/// Looks and tells.
pub fn run(args: &DoctorArgs) -> Result<()> {
    let machine = Machine::look()?;
    if args.json {
        return line(machine.json());
    }
    machine.show()?;
    let advice = machine.advice();
    line(if advice.is_empty() { "\nNothing that was looked at slows Picnic down here." } else { "" })?;
    advice.iter().try_for_each(|sentence| line(format_args!("- {sentence}")))
}

impl Machine {
    fn look() -> Result<Machine> {
        let kinds = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        let system = System::new_with_specifics(kinds).context("the system does not describe itself")?;
        let brand = system.cpus().first().map(|cpu| cpu.brand().trim().to_owned());
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let memory = system.total_memory();
        let limit = system.cgroup_limits().filter(|limits| limits.total_memory < memory);
        let available = available(&system);
        let products = Isa::available().into_iter().map(|isa| Ok((isa, measure::product(isa, 1, ON_ONE)?)));
        let kind = DiskRefreshKind::nothing().with_storage();
        let disks = Disks::new_with_refreshed_list_specifics(kind).ok();
        let folder = |purpose, path: PathBuf| Folder { purpose, free: free(disks.as_ref(), &path), path };
        Ok(Machine {
            processor: brand.filter(|brand| !brand.is_empty()),
            cores: System::physical_core_count().ok(),
            logical: system.cpus().len().max(threads),
            threads,
            products: products.collect::<std::io::Result<_>>().context("no thread can be started")?,
            product: measure::product(Isa::detect(), threads, ON_ALL).context("no thread can be started")?,
            memory,
            memory_available: available,
            memory_limit: limit.map(|limits| limits.total_memory),
            bandwidth: measure::bandwidth(threads, available, MEMORY),
            folders: [
                folder("temporary files", std::env::temp_dir()),
                folder("this folder", std::env::current_dir().context("the current folder is gone")?),
            ],
        })
    }

    fn show(&self) -> Result<()> {
        let name = self.processor.as_deref().unwrap_or("of a kind that the system does not name");
        let cores = self.cores.map_or(String::new(), |cores| format!("{}, ", count(cores, "core")));
        row("processor", format_args!("{name}, {cores}{}", count(self.logical, "hardware thread")))?;
        row("threads", format_args!("{} for this process", self.threads))?;
        let names: Vec<&str> = self.products.iter().map(|(isa, _)| isa.name()).collect();
        row("instructions", format_args!("{} of {}", Isa::detect().name(), names.join(", ")))?;
        let rates: Vec<String> =
            self.products.iter().map(|(isa, rate)| format!("{} {}", isa.name(), short(*rate))).collect();
        row("products", format_args!("{} GFLOP/s on one thread", rates.join(", ")))?;
        row("", format_args!("{} {} GFLOP/s on {}", Isa::detect().name(), short(self.product), self.threads))?;
        let limit = self.memory_limit.map_or(String::new(), |limit| format!(", control group: {}", size(limit)));
        row("memory", format_args!("{}, {} available{limit}", size(self.memory), size(self.memory_available)))?;
        // A token that a model writes reads every weight that it uses.
        let rate = self.bandwidth.map(|rate| {
            let rate = short(rate);
            format!("{rate} GB/s: a model with 1 GB of weights writes at most {rate} tokens/s")
        });
        row("bandwidth", rate.as_deref().unwrap_or("not measured, for lack of memory"))?;
        for Folder { purpose, path, free } in &self.folders {
            let free = free.map_or("free space unknown".to_owned(), |free| format!("{} free", size(free)));
            row(purpose, format_args!("{}, {free}", path.display()))?;
        }
        let [version, profile, opt_level, target] = BUILD.map(|(_, value)| value);
        let nano = if HAS_NANO { "with" } else { "without" };
        row("build", format_args!("{version}, {profile}, opt-level {opt_level}, {target}, {nano} nano"))
    }

    /// What is slow, or may fail, and why: only what was seen here.
    fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        let mut say = |sentence: String| advice.push(sentence);
        if cfg!(debug_assertions) {
            say("This is a debug build, which is many times slower: build with --release.".to_owned());
        }
        if let (Some((best, best_rate)), used) = (self.products.last(), Isa::detect())
            && let Some((_, rate)) = self.products.iter().find(|(isa, _)| isa.name() == used.name())
            && best.name() != used.name()
        {
            say(format!(
                "PICNIC_ISA chooses {}, which does {} GFLOP/s in products on one thread; {}, the default here, does {}.",
                used.name(),
                short(*rate),
                best.name(),
                short(*best_rate)
            ));
        }
        match self.products.last().map(|(isa, _)| isa.name()) {
            Some("avx2") => say("This processor has no AVX-512, whose vectors are twice as wide as AVX2's.".to_owned()),
            Some("scalar") if cfg!(target_arch = "x86_64") => say(
                "This processor lacks AVX2, FMA or F16C, so there are no vector instructions: everything is many times \
                 slower."
                    .to_owned(),
            ),
            Some("scalar") => {
                say("Picnic has no vector instructions for this kind of processor: everything is slow.".to_owned());
            }
            _ => {}
        }
        if self.threads < self.logical {
            say(format!(
                "The system lets this process use {} of {}, by its affinity or its control group.",
                self.threads,
                count(self.logical, "hardware thread")
            ));
        }
        let one =
            self.products.iter().find(|(isa, _)| isa.name() == Isa::detect().name()).map_or(0.0, |(_, rate)| *rate);
        let real = self.cores.map_or(self.threads, |cores| cores.min(self.threads)).max(1);
        if self.threads > 1 && self.product < SHARED * real as f64 * one {
            say(format!(
                "{} did {:.1} times the work of one: other programs were using the cores, or the processor runs slower \
                 when all of them work.",
                count(self.threads, "thread"),
                self.product / one
            ));
        }
        if self.memory_available < LITTLE_MEMORY {
            say(format!(
                "Only {} of memory are available; the default recipe takes 0.4 GB. {MEMORY_LIMIT} sets a limit below \
                 the system's.",
                size(self.memory_available)
            ));
        }
        for Folder { purpose, path, free } in &self.folders {
            if let Some(free) = free.filter(|free| *free < LITTLE_DISK) {
                say(format!("There are only {} free for {purpose} in {}.", size(free), path.display()));
            }
        }
        advice
    }

    fn json(&self) -> Value {
        let products = self.products.iter().map(|(isa, rate)| (isa.name().to_owned(), json!(rate)));
        let folders = self.folders.iter().map(|Folder { purpose, path, free }| {
            json!({"purpose": purpose, "path": path.to_string_lossy(), "free_bytes": free})
        });
        let build = BUILD.map(|(key, value)| (key.to_owned(), json!(value)));
        json!({
            "processor": self.processor, "cores": self.cores, "hardware_threads": self.logical, "threads": self.threads,
            "instruction_set": Isa::detect().name(),
            "gflops_of_one_thread": products.collect::<serde_json::Map<_, _>>(),
            "gflops": self.product,
            "memory_bytes": self.memory, "memory_available_bytes": self.memory_available,
            "memory_limit_bytes": self.memory_limit, "gigabytes_per_second": self.bandwidth,
            "folders": folders.collect::<Vec<_>>(),
            "build": serde_json::Map::from_iter(build), "nano": HAS_NANO,
            "advice": self.advice(),
        })
    }
}

fn row(name: &str, value: impl std::fmt::Display) -> Result<()> {
    line(format_args!("{name:16}{value}"))
}

/// Free bytes where `path` is: on the disk that is mounted nearest above it.
fn free(disks: Option<&Disks>, path: &Path) -> Option<u64> {
    let path = path.canonicalize().ok()?;
    let above = disks?.iter().filter(|disk| path.starts_with(disk.mount_point()));
    above.max_by_key(|disk| disk.mount_point().components().count()).map(|disk| disk.available_space())
}

fn size(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// A rate, with a decimal where it says something.
fn short(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
