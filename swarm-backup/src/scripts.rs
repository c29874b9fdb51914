//! What runs on hosts. The scripts are fixed; what they are about comes as arguments, and a backup's data on standard input.

/// How the engine is stopped and started: by its service manager, never by a process id.
const SERVICE: &str = concat!(
    "export LC_ALL=C PATH=\"$PATH:/usr/sbin:/sbin\"\numask 077\n",
    swarm_service::shell!(),
    r#"case $(services) in
  none) known= ;;
  sysv) [ -x /etc/init.d/docker ] && known=yes || known= ;;
  *) known=yes ;;
esac
[ -n "$known" ] || { echo "no service manager that knows the engine is there (systemd, OpenRC, /etc/init.d/docker)"; exit 4; }
stopped() {
  service stop >"$work/log" 2>&1 || { echo "the engine could not be stopped: $(tail -n 3 "$work/log")"; return 1; }
  goes_down || { echo "the engine did not end within 60 s"; return 1; }
}
started() { service start >"$work/log" 2>&1 || { echo "the engine could not be started: $(tail -n 3 "$work/log")"; return 1; }; }
# Stops the engine. It is started whatever becomes of the script before `trap - EXIT`, and then $1 is done; the mark is for whoever comes
# after a script that was killed.
held() {
  rm -rf "$work" && mkdir -m 700 "$work" || exit 6
  trap '' HUP PIPE
  trap "started; $1" EXIT
  trap 'exit 7' INT TERM
  date +%s >"$work/stopped" || exit 6
  stopped || exit 8
}
"#
);

/// Stops the engine, copies its swarm state, starts it, and packs the copy. Argument: the engine's data. Prints the size of what it packed.
/// Once it has begun it goes on without whoever began it: a connection that ends does not end it.
const COPY: &str = r#"root=$1 work="$1/.swarm-backup"
[ -f "$root/swarm/docker-state.json" ] || { echo "the engine has no swarm state below $root/swarm"; exit 3; }
need=$(du -sk "$root/swarm" | cut -f1)
free=$(df -Pk "$root" | tail -n 1 | { read -r _ _ _ free _; echo "$free"; })
[ "$((need * 2))" -lt "$free" ] || { echo "$((need * 2 / 1024)) MB of disk are needed for the copy, and $((free / 1024)) MB are free"; exit 5; }
held 'rm -f "$work/stopped"'
cp -a "$root/swarm" "$work/swarm" || exit 9
trap - EXIT
started || exit 10
rm -f "$work/stopped"
tar -C "$work" -czf "$work/state.tar.gz" swarm || exit 11
rm -rf "$work/swarm"
wc -c <"$work/state.tar.gz"
"#;

/// Stops the engine and starts it. Argument: the engine's data. Like a copy, it goes on without whoever began it.
const RESTART: &str = r#"work="$1/.swarm-backup"
held 'rm -rf "$work"'
trap - EXIT
started || exit 10
rm -rf "$work"
"#;

/// Starts an engine that a backup or a drill stopped and did not start again. Argument: the engine's data.
const START: &str = r#"work="$1/.swarm-backup"
[ -f "$work/stopped" ] || { echo "no backup and no drill stopped this engine"; exit 3; }
engine >/dev/null || started || exit 10
rm -rf "$work"
"#;

/// Puts a backup's state in the place of an engine that is in no swarm. Argument: the engine's data; on standard input the packed state in
/// base64. What was there is put back where it does not work.
const PLACE: &str = r#"root=$1 work="$1/.swarm-restore"
rm -rf "$work" && mkdir -m 700 "$work" || exit 6
base64 -d >"$work/state.tar.gz" || { echo "the state did not arrive whole"; exit 7; }
tar -C "$work" -xzf "$work/state.tar.gz" || exit 8
[ -f "$work/swarm/docker-state.json" ] || { echo "that is no swarm state"; exit 8; }
back() {
  if [ -d "$work/before" ]; then rm -rf "$root/swarm"; mv "$work/before" "$root/swarm"; fi
  started; rm -rf "$work"
}
trap '' HUP PIPE
trap back EXIT
trap 'exit 9' INT TERM
stopped || exit 10
[ ! -d "$root/swarm" ] || mv "$root/swarm" "$work/before" || exit 11
mv "$work/swarm" "$root/swarm" || exit 12
started || exit 13
trap - EXIT
rm -rf "$work"
"#;

/// Where a state is moved that must not come back.
pub(crate) const ASIDE: &str = "swarm.before-recovery";

/// Whether the engine is stopped, whether something starts it at boot, and where its state is. What is not known counts as the worse.
const AT_REST: &str = concat!(
    "export LC_ALL=C PATH=\"$PATH:/usr/sbin:/sbin\"\n",
    swarm_service::shell!(),
    r#"runs=
for comm in /proc/[0-9]*/comm; do
  [ "$(cat "$comm" 2>/dev/null)" = dockerd ] && runs="its engine runs and does not answer"
done
given='(^|[[:space:]"])(--data-root|--graph|-g|--config-file)([=[:space:]]|$)'
flags=$(cat /etc/default/docker /etc/conf.d/docker /etc/sysconfig/docker 2>/dev/null | grep -v '^[[:space:]]*#')
boot=$(starts_at_boot)
if [ "$(services)" = systemd ]; then
  flags="$flags $(systemctl cat docker.service 2>/dev/null | grep -v '^[[:space:]]*#')"
  case "$(systemctl is-active docker.service 2>/dev/null)" in
    inactive|failed|unknown) ;;
    *) runs="its engine is being started" ;;
  esac
  [ "$(systemctl is-active docker.socket 2>/dev/null)" = active ] && boot=yes
fi
[ "$boot" = no ] || boot=yes
root=/var/lib/docker
config=/etc/docker/daemon.json
if [ -f "$config" ]; then
  own=$(tr -d '\n' <"$config" | sed -n 's/.*"\(data-root\|graph\)"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\2/p')
  [ -n "$own" ] && root=$own
fi
printf '%s\n' "$flags" | grep -Eq -- "$given" && root=
state=yes
[ -n "$root" ] && [ ! -e "$root/swarm/docker-state.json" ] && [ ! -e "$root/swarm/state.json" ] && state=no
"#
);

/// Prints what was found.
const SAY: &str = r#"[ -z "$runs" ] || echo "runs=$runs"
printf 'boot=%s\nroot=%s\nstate=%s\n' "$boot" "$root" "$state"
"#;

/// Looks once more, right before it counts.
const STAYS: &str = r#"[ -z "$runs" ] || { echo "$runs"; exit 8; }
[ "$boot" = no ] || [ "$state" = no ] || { echo "its engine is started at boot"; exit 9; }
"#;

/// Moves the state of a stopped engine aside. Argument: the engine's data.
const SET_ASIDE: &str = r#"[ -z "$runs" ] || { echo "$runs"; exit 8; }
[ "$root" = "$1" ] || { echo "its data folder is not $1"; exit 9; }
[ "$state" = yes ] || exit 0
to="$root/$2"
[ ! -e "$to" ] || to="$to.$(date +%s)"
mv "$root/swarm" "$to" || { echo "$root/swarm could not be moved to $to"; exit 10; }
for comm in /proc/[0-9]*/comm; do
  [ "$(cat "$comm" 2>/dev/null)" = dockerd ] && { echo "its engine was started meanwhile; its state is in $to"; exit 11; }
done
exit 0
"#;

fn resting(script: &str, arguments: &[&str]) -> Vec<String> {
    let fixed = ["sh".to_owned(), "-c".to_owned(), format!("{AT_REST}{script}"), "swarm-fence".to_owned()];
    fixed.into_iter().chain(arguments.iter().map(|a| (*a).to_owned())).collect()
}

/// The program that says whether an engine is at rest.
pub(crate) fn at_rest() -> Vec<String> {
    resting(SAY, &[])
}

/// The program that looks whether a stopped engine stays so.
pub(crate) fn stays() -> Vec<String> {
    resting(STAYS, &[])
}

/// The program that moves a stopped engine's state aside.
pub(crate) fn set_aside(data_root: &str) -> Vec<String> {
    resting(SET_ASIDE, &[data_root, ASIDE])
}

fn with(script: &str, data_root: &str) -> Vec<String> {
    vec!["sh".into(), "-c".into(), format!("{SERVICE}{script}"), "swarm-backup".into(), data_root.into()]
}

/// The program that copies the state of a host's engine.
pub(crate) fn copy(data_root: &str) -> Vec<String> {
    with(COPY, data_root)
}

/// The program that restarts a host's engine.
pub(crate) fn restart(data_root: &str) -> Vec<String> {
    with(RESTART, data_root)
}

/// The program that starts an engine which a backup or a drill stopped.
pub(crate) fn start(data_root: &str) -> Vec<String> {
    with(START, data_root)
}

/// The program that puts a state in place.
pub(crate) fn place(data_root: &str) -> Vec<String> {
    with(PLACE, data_root)
}

/// Where the packed copy is.
pub(crate) fn packed(data_root: &str) -> String {
    format!("{data_root}/.swarm-backup/state.tar.gz")
}

/// What is there while a backup has an engine stopped.
pub(crate) fn marker(data_root: &str) -> String {
    format!("{data_root}/.swarm-backup/stopped")
}

/// The program that removes the copy again.
pub(crate) fn clear(data_root: &str) -> Vec<String> {
    vec!["rm".into(), "-rf".into(), "--".into(), format!("{data_root}/.swarm-backup")]
}
