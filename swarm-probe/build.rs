//! Compiles the probe for the processors whose target is installed. Where it cannot be compiled, the library says so and works
//! without: a build never fails for it.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A processor as `uname -m` names it, and the targets that give a static program for it, the smaller one first.
const WANTED: [(&str, [&str; 2]); 2] = [
    ("x86_64", ["x86_64-unknown-linux-musl", "x86_64-unknown-linux-gnu"]),
    ("aarch64", ["aarch64-unknown-linux-musl", "aarch64-unknown-linux-gnu"]),
];

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=probe");
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let (rustc, host, out) = (variable("RUSTC"), variable("HOST"), PathBuf::from(variable("OUT_DIR")));
    let sysroot = Command::new(&rustc).args(["--print", "sysroot"]).output()?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
    for (processor, targets) in WANTED {
        let program = out.join(format!("probe-{processor}"));
        let built = targets.iter().any(|target| {
            let installed = sysroot.join("lib/rustlib").join(target).join("lib").is_dir();
            // Of glibc there is a static library only where the machine that builds has one.
            installed && (target.ends_with("musl") || host == *target) && compile(&rustc, &sysroot, &host, target, &program)
        });
        let whole = if built { std::fs::read(&program)? } else { Vec::new() };
        std::fs::write(out.join(format!("size-{processor}")), whole.len().to_string())?;
        let mut packed = GzEncoder::new(File::create(out.join(format!("probe-{processor}.gz")))?, Compression::best());
        packed.write_all(&whole)?;
        packed.finish()?;
    }
    Ok(())
}

fn compile(rustc: &str, sysroot: &Path, host: &str, target: &str, program: &Path) -> bool {
    let mut command = Command::new(rustc);
    command.args(["--edition", "2024", "--crate-name", "probe", "--target", target, "probe/main.rs", "-o"]).arg(program);
    for option in [
        "opt-level=s",
        "strip=symbols",
        "panic=abort",
        "lto=fat",
        "codegen-units=1",
        "target-feature=+crt-static",
        "relocation-model=static",
    ] {
        command.args(["-C", option]);
    }
    if target != host {
        let linker = sysroot.join("lib/rustlib").join(host).join("bin/rust-lld");
        command.arg("-C").arg(format!("linker={}", linker.display())).args(["-C", "linker-flavor=ld.lld"]);
    }
    command.output().is_ok_and(|done| done.status.success())
}
