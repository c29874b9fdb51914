//! A way to the engine's socket where sshd does not forward to it, or only root may use it: a command on the host copies bytes. Any of
//! five programs does; none of them is installed.

/// Copies bytes between its own input and output and the socket `$1`, with the first of docker, socat, nc, python3 and perl that the host
/// has. No value of the cluster file goes into it.
pub(crate) const RELAY: &str = r#"s=$1; PATH="$PATH:/usr/local/bin:/usr/sbin:/sbin"
if command -v docker >/dev/null 2>&1; then exec docker -H "unix://$s" system dial-stdio; fi
if command -v socat >/dev/null 2>&1; then exec socat - "UNIX-CONNECT:$s"; fi
if command -v nc >/dev/null 2>&1 && nc -h 2>&1 | grep -q -e '-U'; then exec nc -U "$s"; fi
if command -v python3 >/dev/null 2>&1; then exec python3 -c '
import os, socket, sys, threading
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
def up():
    while True:
        b = os.read(0, 65536)
        if not b: return s.shutdown(socket.SHUT_WR)
        s.sendall(b)
threading.Thread(target=up, daemon=True).start()
while True:
    b = s.recv(65536)
    if not b: break
    while b: b = b[os.write(1, b):]
' "$s"; fi
if command -v perl >/dev/null 2>&1; then exec perl -MIO::Socket::UNIX -e '
my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "$ARGV[0]: $!\n";
sub copy { my ($in, $out) = @_; my $b;
  while (sysread($in, $b, 65536)) { my $o = 0;
    while ($o < length $b) { my $n = syswrite($out, $b, length($b) - $o, $o); defined $n or exit 1; $o += $n } } }
my $p = fork; defined $p or die "fork: $!\n";
if ($p) { copy($s, \*STDOUT); kill 15, $p } else { copy(\*STDIN, $s); shutdown($s, 1) }
' "$s"; fi
echo "there is no docker, socat, nc (with -U), python3 or perl to reach $s with; install socat" >&2
exit 127"#;

/// Prints the first of the programs that [`RELAY`] would use, or nothing.
pub(crate) const FIND: &str = r#"PATH="$PATH:/usr/local/bin:/usr/sbin:/sbin"
for p in docker socat nc python3 perl; do
  command -v $p >/dev/null 2>&1 || continue
  if [ $p = nc ] && ! nc -h 2>&1 | grep -q -e '-U'; then continue; fi
  echo $p; exit 0
done"#;
