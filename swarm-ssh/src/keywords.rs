//! Every keyword of ssh_config, and what becomes of it here. `docs/ssh.md` holds the same table for people; a test compares the two.

/// What is made of a keyword that is not at its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// This library does what it says.
    Honoured,
    /// OpenSSH itself connects.
    ByOpenSsh,
    /// The host is refused, by the keyword's name.
    Refused,
    /// It changes nothing of what is done here: no trust, no way, no login.
    Meaningless,
}

use Handling::{ByOpenSsh, Honoured, Meaningless, Refused};

/// The keywords, as `ssh -G` prints them.
pub const KEYWORDS: &[(&str, Handling)] = &[
    ("addkeystoagent", Meaningless),
    ("addressfamily", Honoured),
    ("batchmode", Honoured),
    ("bindaddress", Honoured),
    ("bindinterface", ByOpenSsh),
    // What they lead to is the host name that `ssh -G` prints.
    ("canonicaldomains", Honoured),
    ("canonicalizefallbacklocal", Honoured),
    ("canonicalizehostname", Honoured),
    ("canonicalizemaxdots", Honoured),
    ("canonicalizepermittedcnames", Honoured),
    ("casignaturealgorithms", Honoured),
    ("certificatefile", Honoured),
    ("checkhostip", ByOpenSsh),
    ("ciphers", Honoured),
    ("clearallforwardings", Meaningless),
    ("compression", Meaningless),
    ("connectionattempts", Meaningless),
    ("connecttimeout", Honoured),
    ("controlmaster", Meaningless),
    // Only where a master is running.
    ("controlpath", ByOpenSsh),
    ("controlpersist", Meaningless),
    ("dynamicforward", Meaningless),
    ("enableescapecommandline", Meaningless),
    ("enablesshkeysign", Meaningless),
    ("escapechar", Meaningless),
    ("exitonforwardfailure", Meaningless),
    ("fingerprinthash", Meaningless),
    ("forkafterauthentication", Meaningless),
    ("forwardagent", Meaningless),
    ("forwardx11", Meaningless),
    ("forwardx11timeout", Meaningless),
    ("forwardx11trusted", Meaningless),
    ("gatewayports", Meaningless),
    ("globalknownhostsfile", Honoured),
    ("gssapiauthentication", ByOpenSsh),
    ("gssapiclientidentity", ByOpenSsh),
    ("gssapidelegatecredentials", ByOpenSsh),
    ("gssapikexalgorithms", Meaningless),
    ("gssapikeyexchange", ByOpenSsh),
    ("gssapirenewalforcesrekey", Meaningless),
    ("gssapiserveridentity", ByOpenSsh),
    ("gssapitrustdns", ByOpenSsh),
    ("hashknownhosts", Honoured),
    ("host", Honoured),
    ("hostbasedacceptedalgorithms", Meaningless),
    ("hostbasedauthentication", ByOpenSsh),
    ("hostkeyalgorithms", Honoured),
    ("hostkeyalias", Honoured),
    ("hostname", Honoured),
    ("identitiesonly", Honoured),
    ("identityagent", Honoured),
    ("identityfile", Honoured),
    ("ignoreunknown", Honoured),
    ("ipqos", Meaningless),
    ("kbdinteractiveauthentication", Honoured),
    ("kbdinteractivedevices", ByOpenSsh),
    ("kexalgorithms", Honoured),
    ("knownhostscommand", ByOpenSsh),
    ("localcommand", Meaningless),
    ("localforward", Meaningless),
    ("loglevel", Meaningless),
    ("logverbose", Meaningless),
    ("macs", Honoured),
    // The key is always checked here.
    ("nohostauthenticationforlocalhost", Meaningless),
    ("numberofpasswordprompts", Meaningless),
    ("obscurekeystroketiming", Meaningless),
    ("passwordauthentication", Honoured),
    ("permitlocalcommand", Meaningless),
    ("permitremoteopen", Meaningless),
    ("pkcs11provider", ByOpenSsh),
    ("port", Honoured),
    ("preferredauthentications", Honoured),
    ("proxycommand", ByOpenSsh),
    ("proxyjump", Honoured),
    ("proxyusefdpass", ByOpenSsh),
    ("pubkeyacceptedalgorithms", Honoured),
    ("pubkeyauthentication", Honoured),
    ("rekeylimit", Meaningless),
    // `ssh HOST COMMAND` fails where either is set.
    ("remotecommand", Refused),
    ("remoteforward", Meaningless),
    ("requesttty", Meaningless),
    ("requiredrsasize", Honoured),
    ("revokedhostkeys", Honoured),
    ("securitykeyprovider", ByOpenSsh),
    ("sendenv", Meaningless),
    ("serveralivecountmax", Honoured),
    ("serveraliveinterval", Honoured),
    ("sessiontype", Refused),
    ("setenv", Meaningless),
    ("stdinnull", Meaningless),
    ("streamlocalbindmask", Meaningless),
    ("streamlocalbindunlink", Meaningless),
    // Ours is `host_key` of the cluster file, which is never laxer than accept-new.
    ("stricthostkeychecking", Meaningless),
    ("syslogfacility", Meaningless),
    ("tag", Honoured),
    ("tcpkeepalive", Meaningless),
    ("tunnel", Meaningless),
    ("tunneldevice", Meaningless),
    ("updatehostkeys", Meaningless),
    ("user", Honoured),
    ("userknownhostsfile", Honoured),
    ("verifyhostkeydns", ByOpenSsh),
    ("visualhostkey", Meaningless),
    ("xauthlocation", Meaningless),
];

/// What is made of a keyword; one that is not known here is OpenSSH's own affair.
pub fn handling(keyword: &str) -> Handling {
    KEYWORDS.iter().find(|(known, _)| *known == keyword).map_or(ByOpenSsh, |(_, handling)| *handling)
}
