//! What a user can read: every message of the libraries and the program, and every documentation comment, from the sources themselves.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use syn::visit::Visit;

/// The crates whose texts a user meets.
const CRATES: &[&str] = &[
    "swarm-core",
    "swarm-file",
    "swarm-ssh",
    "swarm-docker",
    "swarm-fleet",
    "swarm-machines",
    "swarm-ec2",
    "swarm-prepare",
    "swarm-backup",
    "swarm-service",
    "swarm-workload",
    "swarm-compose",
    "swarm-lab",
    "swarm-cli",
    "swarm-bootstrap",
    "swarm-sim",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// What stands in one source file.
#[derive(Default)]
struct Texts {
    messages: BTreeSet<String>,
    documents: Vec<String>,
}

impl Texts {
    fn message(&mut self, text: &str) {
        let words = text.split_whitespace().filter(|w| w.chars().any(char::is_alphabetic)).count();
        if words >= 2 {
            self.messages.insert(text.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }

    /// What a script of a shell says: the words in quotes behind what says them.
    fn script(&mut self, text: &str) {
        for said in ["fail \"", "remains \"", "echo \""] {
            for part in text.split(said).skip(1) {
                let part = part.replace("\\\"", "'").replace("\\`", "`");
                self.message(part.split('"').next().unwrap_or_default());
            }
        }
    }

    fn tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Literal(literal) => {
                    if let Ok(text) = syn::parse2::<syn::LitStr>(TokenTree::Literal(literal).into()) {
                        self.message(&text.value());
                    }
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }
}

/// Whether an item is for tests alone.
fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|a| match &a.meta {
        syn::Meta::List(list) if a.path().is_ident("cfg") => list.tokens.to_string().contains("test"),
        syn::Meta::Path(path) => path.is_ident("test"),
        _ => false,
    })
}

impl<'a> Visit<'a> for Texts {
    fn visit_item(&mut self, item: &'a syn::Item) {
        let attributes = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            _ => return syn::visit::visit_item(self, item),
        };
        if !is_test(attributes) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_attribute(&mut self, attribute: &'a syn::Attribute) {
        match &attribute.meta {
            syn::Meta::NameValue(pair) if attribute.path().is_ident("doc") => {
                if let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = &pair.value {
                    self.documents.push(text.value());
                }
            }
            syn::Meta::List(list) if attribute.path().is_ident("error") => self.tokens(list.tokens.clone()),
            _ => {}
        }
    }

    fn visit_macro(&mut self, found: &'a syn::Macro) {
        self.tokens(found.tokens.clone());
    }

    fn visit_lit_str(&mut self, text: &'a syn::LitStr) {
        self.message(&text.value());
    }
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            sources(&path, found);
        } else if name.ends_with(".sh")
            || name.ends_with(".rs") && !name.starts_with("tests_") && !matches!(name.as_str(), "tests.rs" | "testkit.rs" | "testing.rs")
        {
            found.push(path);
        }
    }
}

fn texts() -> Vec<(String, Texts)> {
    let root = root();
    let mut files = Vec::new();
    CRATES.iter().for_each(|name| sources(&root.join(name).join("src"), &mut files));
    files
        .into_iter()
        .map(|path| {
            let mut texts = Texts::default();
            let text = std::fs::read_to_string(&path).unwrap();
            match path.extension().is_some_and(|e| e == "sh") {
                true => texts.script(&text),
                false => texts.visit_file(&syn::parse_file(&text).unwrap()),
            }
            (path.strip_prefix(&root).unwrap().display().to_string(), texts)
        })
        .collect()
}

/// `docs/messages.md`, as it is to be.
pub fn document() -> String {
    let mut out = String::from(
        "# Messages\n\nEvery text of two words and more that a user can see, by source file. Written by `make messages`; a test compares.\n",
    );
    // The engine's own words are those of moby and swarmkit, whatever we think of them.
    for (file, texts) in texts().into_iter().filter(|(file, _)| !file.starts_with("swarm-sim/src/world")) {
        if !texts.messages.is_empty() {
            let _ = write!(out, "\n## {file}\n\n");
            for text in &texts.messages {
                let _ = writeln!(out, "- `{}`", text.replace('`', "'"));
            }
        }
    }
    out
}

/// Where the document is.
pub fn place() -> PathBuf {
    root().join("docs/messages.md")
}

/// The words that `docs/style.md` does not want.
pub fn banned() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs/style.md")).unwrap();
    text.lines()
        .filter_map(|l| l.strip_prefix("| ")?.split(" | ").next())
        .filter(|w| *w != "not" && !w.starts_with('-'))
        .map(|w| w.trim().to_owned())
        .collect()
}

/// Whether a text holds a word, as a word.
pub fn holds(text: &str, word: &str) -> bool {
    let text = text.to_lowercase();
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text.match_indices(word).any(|(at, _)| !is_word(text[..at].chars().next_back()) && !is_word(text[at + word.len()..].chars().next()))
}

/// Banned words in messages and in documentation comments, each with its file.
pub fn violations() -> Vec<String> {
    let banned = banned();
    let mut found = Vec::new();
    for (file, texts) in texts() {
        let messages = texts.messages.iter().filter(|_| !file.starts_with("swarm-sim/src/world"));
        for text in messages.chain(&texts.documents) {
            found.extend(banned.iter().filter(|word| holds(text, word)).map(|word| format!("{file}: `{word}` in: {}", text.trim())));
        }
    }
    found
}
