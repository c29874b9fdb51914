//! All mutants of a crate in one build ("mutant schemata"): each place that has mutants asks at run time which of them is chosen. `cargo
//! mutants --list --json` says what the mutants are; here its list is written into the sources, so that trying one costs a test and no build.

use std::collections::{BTreeMap, BTreeSet};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// One mutant of cargo-mutants' list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutant {
    /// Its number: the place in the list.
    pub id: usize,
    /// What cargo-mutants calls it: file, line, column and change.
    pub name: String,
    /// The file, relative to the workspace.
    pub file: String,
    /// `FnValue`, `BinaryOperator`, `UnaryOperator`, `MatchArm`, `MatchArmGuard` or `StructField`.
    pub genre: String,
    /// Line (from 1) and column (from 1) where the text that is replaced begins.
    pub start: (u64, u64),
    /// Where it ends.
    pub end: (u64, u64),
    /// What takes its place.
    pub replacement: String,
}

/// Reads the output of `cargo mutants --list --json`.
///
/// # Errors
/// What is wrong with the text.
pub fn read(list: &str) -> Result<Vec<Mutant>, String> {
    let list: Vec<serde_json::Value> = serde_json::from_str(list).map_err(|e| e.to_string())?;
    let mutant = |(id, m): (usize, &serde_json::Value)| {
        let text = |key: &str| m.get(key).and_then(|v| v.as_str()).map(str::to_owned);
        let at = |end: &str| {
            let place = m.get("span")?.get(end)?;
            Some((place.get("line")?.as_u64()?, place.get("column")?.as_u64()?))
        };
        Some(Mutant {
            id,
            name: text("name")?,
            file: text("file")?,
            genre: text("genre")?,
            start: at("start")?,
            end: at("end")?,
            replacement: text("replacement")?,
        })
    };
    list.iter().enumerate().map(|entry| mutant(entry).ok_or_else(|| format!("not a mutant: {}", entry.1))).collect()
}

/// A source file with its mutants.
#[derive(Debug, Default)]
pub struct Merged {
    /// The file's text.
    pub text: String,
    /// Where in the text each place with mutants lies, and which they are; places may lie in one another.
    pub places: Vec<(std::ops::Range<usize>, Vec<usize>)>,
    /// Mutants of which the source shows no such place.
    pub unplaced: BTreeSet<usize>,
}

impl Merged {
    /// The mutants of the smallest place that reaches over these bytes.
    #[must_use]
    pub fn at(&self, bytes: &std::ops::Range<usize>) -> Vec<usize> {
        let over = self.places.iter().filter(|(place, _)| place.start <= bytes.start && bytes.end <= place.end);
        over.min_by_key(|(place, _)| place.len()).map(|(_, ids)| ids.clone()).unwrap_or_default()
    }
}

/// Writes the mutants into a source file: `a == b` becomes `(if on(7) { a != b } else { a == b })`.
///
/// # Errors
/// The file is not Rust.
pub fn merge(source: &str, mutants: &[&Mutant]) -> Result<Merged, String> {
    let file = syn::parse_file(source).map_err(|e| e.to_string())?;
    let mut by_start: BTreeMap<(u64, u64), Vec<&Mutant>> = BTreeMap::new();
    for mutant in mutants {
        by_start.entry(mutant.start).or_default().push(mutant);
    }
    let mut places = Places { source, by_start, starts: Vec::new(), ends: Vec::new(), found: Vec::new(), catches_all: false };
    places.visit_file(&file);
    let Places { mut starts, mut ends, found, .. } = places;
    // Both sorts keep the order of what lies at one byte: outer places begin first, inner ones end first.
    starts.sort_by_key(|(at, _)| *at);
    ends.sort_by_key(|(at, _)| *at);
    let (mut text, mut copied) = (String::new(), 0);
    let (mut starts, mut ends) = (starts.into_iter().peekable(), ends.into_iter().peekable());
    // Where each byte of the source came to lie: after what ends there and before what begins there.
    let mut moved: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    while let Some(at) = [starts.peek().map(|e| e.0), ends.peek().map(|e| e.0)].into_iter().flatten().min() {
        text.push_str(source.get(copied..at).unwrap_or_default());
        copied = at;
        while let Some((_, end)) = ends.next_if(|e| e.0 == at) {
            text.push_str(&end);
        }
        let between = text.len();
        while let Some((_, start)) = starts.next_if(|e| e.0 == at) {
            text.push_str(&start);
        }
        moved.insert(at, (between, between));
    }
    text.push_str(source.get(copied..).unwrap_or_default());
    let placed: BTreeSet<usize> = found.iter().flat_map(|(_, ids)| ids.clone()).collect();
    let new = |at: usize| moved.get(&at).map_or(at, |m| m.0);
    Ok(Merged {
        places: found.into_iter().map(|(range, ids)| (new(range.start)..new(range.end), ids)).collect(),
        unplaced: mutants.iter().map(|m| m.id).filter(|id| !placed.contains(id)).collect(),
        text,
    })
}

struct Places<'a> {
    source: &'a str,
    by_start: BTreeMap<(u64, u64), Vec<&'a Mutant>>,
    starts: Vec<(usize, String)>,
    ends: Vec<(usize, String)>,
    found: Vec<(std::ops::Range<usize>, Vec<usize>)>,
    catches_all: bool,
}

const ON: &str = "crate::mutant::on";

fn at(span: proc_macro2::Span) -> (u64, u64) {
    let start = span.start();
    (start.line as u64, start.column as u64 + 1)
}

/// Whether a `let` stands among the operands of a chain: such a chain cannot stand in parentheses.
fn is_chain(expr: &syn::Expr) -> bool {
    match expr {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(b) => is_chain(&b.left) || is_chain(&b.right),
        _ => false,
    }
}

impl<'a> Places<'a> {
    fn of(&self, span: proc_macro2::Span, genre: &str) -> Vec<&'a Mutant> {
        self.by_start.get(&at(span)).map(|all| all.iter().filter(|m| m.genre == genre).copied().collect()).unwrap_or_default()
    }

    fn raw(&self, range: std::ops::Range<usize>) -> &'a str {
        self.source.get(range).unwrap_or_default()
    }

    /// An expression that has, for each mutant, another text; `inside` visits what lies in it.
    fn alternatives(&mut self, range: std::ops::Range<usize>, mutants: &[(usize, String)], inside: impl FnOnce(&mut Self)) {
        if mutants.is_empty() {
            return inside(self);
        }
        let others: String = mutants.iter().map(|(id, text)| format!("if {ON}({id}) {{ {text} }} else ")).collect();
        self.starts.push((range.start, format!("({others}{{ ")));
        inside(self);
        self.ends.push((range.end, " })".to_owned()));
        self.found.push((range, mutants.iter().map(|(id, _)| *id).collect()));
    }

    fn body(&mut self, block: &syn::Block) {
        let Some(first) = block.stmts.first() else { return };
        let mutants = self.of(first.span(), "FnValue");
        if mutants.is_empty() {
            return;
        }
        let text: String = mutants.iter().map(|m| format!("if {ON}({}) {{ return {}; }} ", m.id, m.replacement)).collect();
        self.starts.push((first.span().byte_range().start, text));
        self.found.push((block.span().byte_range(), mutants.iter().map(|m| m.id).collect()));
        let whole = block.span().byte_range();
        // The place's own bounds, where nothing is written.
        self.starts.push((whole.start, String::new()));
        self.ends.push((whole.end, String::new()));
    }
}

impl<'ast> Visit<'ast> for Places<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.body(&item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.body(&item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.body(block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_expr_binary(&mut self, expr: &'ast syn::ExprBinary) {
        let range = expr.span().byte_range();
        let op = expr.op.span().byte_range();
        let mutants = if is_chain(&expr.left) || is_chain(&expr.right) { Vec::new() } else { self.of(expr.op.span(), "BinaryOperator") };
        let text = |m: &Mutant| format!("{} {} {}", self.raw(range.start..op.start), m.replacement, self.raw(op.end..range.end));
        let mutants: Vec<_> = mutants.iter().map(|m| (m.id, text(m))).collect();
        self.alternatives(range, &mutants, |v| visit::visit_expr_binary(v, expr));
    }

    fn visit_expr_unary(&mut self, expr: &'ast syn::ExprUnary) {
        let range = expr.span().byte_range();
        let op = expr.op.span().byte_range();
        let mutants: Vec<_> =
            self.of(expr.op.span(), "UnaryOperator").iter().map(|m| (m.id, self.raw(op.end..range.end).to_owned())).collect();
        self.alternatives(range, &mutants, |v| visit::visit_expr_unary(v, expr));
    }

    fn visit_expr_struct(&mut self, expr: &'ast syn::ExprStruct) {
        let range = expr.span().byte_range();
        let mut mutants = Vec::new();
        for pair in expr.fields.pairs() {
            let field = pair.value().span().byte_range();
            let end = pair.punct().map_or(field.end, |comma| comma.span().byte_range().end);
            for m in self.of(pair.value().span(), "StructField") {
                mutants.push((m.id, format!("{}{}", self.raw(range.start..field.start), self.raw(end..range.end))));
            }
        }
        self.alternatives(range, &mutants, |v| visit::visit_expr_struct(v, expr));
    }

    fn visit_expr_match(&mut self, expr: &'ast syn::ExprMatch) {
        self.visit_expr(&expr.expr);
        // An arm without its pattern falls to `_`, unless that has a guard itself.
        let catches_all = expr.arms.iter().any(|arm| matches!(arm.pat, syn::Pat::Wild(_)) && arm.guard.is_none());
        for arm in &expr.arms {
            self.catches_all = catches_all;
            self.visit_arm(arm);
        }
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let pattern = arm.pat.span().byte_range();
        if let Some((_, guard)) = &arm.guard {
            let mutants = self.of(guard.span(), "MatchArmGuard");
            if !mutants.is_empty() {
                let range = guard.span().byte_range();
                let of = |value: &str| mutants.iter().find(|m| m.replacement == value).map(|m| format!("{ON}({})", m.id));
                let (yes, no) = (of("true").unwrap_or("false".into()), of("false").unwrap_or("false".into()));
                self.starts.push((range.start, format!("{yes} || (!{no} && (")));
                visit::visit_arm(self, arm);
                self.ends.push((range.end, "))".to_owned()));
                self.found.push((range, mutants.iter().map(|m| m.id).collect()));
                return;
            }
        } else if self.catches_all
            && let [mutant] = self.of(arm.span(), "MatchArm").as_slice()
        {
            self.ends.push((pattern.end, format!(" if !{ON}({})", mutant.id)));
            self.found.push((pattern.start..pattern.end, vec![mutant.id]));
            self.starts.push((pattern.start, String::new()));
        }
        visit::visit_arm(self, arm);
    }
}

/// The module that says which mutant is chosen; it becomes part of the crate. `SWARM_MUTANT` is a number, or `trace:FILE`: then each mutant
/// whose place is reached is written to that file once.
pub const CHOICE: &str = r#"
#[doc(hidden)]
pub mod mutant {
    use std::io::Write;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};
    enum Choice { None, One(usize), Trace(std::fs::File) }
    static CHOICE: OnceLock<Choice> = OnceLock::new();
    static REACHED: [AtomicBool; 8192] = [const { AtomicBool::new(false) }; 8192];
    fn choose() -> Choice {
        let Ok(text) = std::env::var("SWARM_MUTANT") else { return Choice::None };
        match text.strip_prefix("trace:") {
            Some(path) => Choice::Trace(std::fs::File::options().create(true).append(true).open(path).unwrap()),
            None => Choice::One(text.parse().unwrap()),
        }
    }
    #[must_use]
    pub fn on(id: usize) -> bool {
        match CHOICE.get_or_init(choose) {
            Choice::None => false,
            Choice::One(one) => *one == id,
            Choice::Trace(file) => {
                if !REACHED[id].swap(true, Ordering::Relaxed) {
                    let mut file: &std::fs::File = file;
                    file.write_all(format!("{id}\n").as_bytes()).unwrap();
                }
                false
            }
        }
    }
}
"#;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "these are tests")]
    use super::{Mutant, merge, read};

    fn mutant(id: usize, genre: &str, start: (u64, u64), replacement: &str) -> Mutant {
        let (name, file) = (format!("m{id}"), "lib.rs".to_owned());
        Mutant { id, name, file, genre: genre.to_owned(), start, end: start, replacement: replacement.to_owned() }
    }

    #[test]
    fn each_mutant_finds_its_place() {
        let source = "fn f(a: bool, b: bool) -> bool {\n    !a && b || match a { true => b, _ if b => a, _ => true }\n}\n";
        let all = [
            mutant(0, "FnValue", (2, 5), "true"),
            mutant(1, "UnaryOperator", (2, 5), ""),
            mutant(2, "BinaryOperator", (2, 8), "||"),
            mutant(3, "BinaryOperator", (2, 13), "&&"),
            mutant(4, "MatchArm", (2, 26), ""),
            mutant(5, "MatchArmGuard", (2, 42), "true"),
            mutant(6, "MatchArmGuard", (2, 42), "false"),
            mutant(7, "BinaryOperator", (9, 9), "!="),
        ];
        let merged = merge(source, &all.iter().collect::<Vec<_>>()).unwrap();
        let on = |id: usize| format!("crate::mutant::on({id})");
        let want = format!(
            "fn f(a: bool, b: bool) -> bool {{\n    if {} {{ return true; }} (if {} {{ !a && b  &&  match a {{ true => b, _ if b => a, _ => true }} }} \
             else {{ (if {} {{ !a  ||  b }} else {{ (if {} {{ a }} else {{ !a }}) && b }}) || match a {{ true if !{} => b, _ if {} || (!{} && (b)) => a, \
             _ => true }} }})\n}}\n",
            on(0),
            on(3),
            on(2),
            on(1),
            on(4),
            on(5),
            on(6)
        );
        assert_eq!(merged.text, want);
        assert_eq!(merged.unplaced, [7].into());
        let inner = merged.text.find("else { !a }").unwrap() + 7;
        assert_eq!(merged.at(&(inner..inner + 2)), [1]);
        assert_eq!(merged.at(&(merged.text.len() - 3..merged.text.len() - 2)), [0]);
    }

    #[test]
    fn a_chain_with_let_stays_as_it_is() {
        let source = "fn f(a: Option<u8>) -> bool {\n    if let Some(b) = a && b == 1 { true } else { false }\n}\n";
        let all = [mutant(0, "BinaryOperator", (2, 24), "||"), mutant(1, "BinaryOperator", (2, 29), "!=")];
        let merged = merge(source, &all.iter().collect::<Vec<_>>()).unwrap();
        assert!(merged.text.contains("= a && (if crate::mutant::on(1) { b  !=  1 } else { b == 1 })"), "{}", merged.text);
        assert_eq!(merged.unplaced, [0].into());
    }

    #[test]
    fn the_list_is_read() {
        let list = r#"[{"name": "x.rs:1:2: replace == with !=", "file": "x.rs", "genre": "BinaryOperator", "replacement": "!=", "span":
            {"start": {"line": 1, "column": 2}, "end": {"line": 1, "column": 4}}}]"#;
        let read_ = read(list).unwrap();
        assert_eq!((read_[0].start, read_[0].end, read_[0].replacement.as_str()), ((1, 2), (1, 4), "!="));
        assert!(read("[{}]").unwrap_err().contains("not a mutant"));
    }
}
