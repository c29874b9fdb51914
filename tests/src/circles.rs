//! Files of a crate that use each other in a circle, from the sources. What a file of a folder uses of the file above it does not count:
//! that is how a folder shares what it is about.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use syn::visit::Visit;

type Module = Vec<String>;

/// Every path of a file that begins in its own crate, and is not for tests.
#[derive(Default)]
struct Paths(Vec<Vec<String>>);

fn is_own(first: &str) -> bool {
    matches!(first, "crate" | "super" | "self")
}

impl Paths {
    fn tree(&mut self, tree: &syn::UseTree, before: &[String]) {
        match tree {
            syn::UseTree::Path(path) => self.tree(&path.tree, &[before, &[path.ident.to_string()]].concat()),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.tree(item, before)),
            syn::UseTree::Name(name) => self.0.push([before, &[name.ident.to_string()]].concat()),
            syn::UseTree::Rename(name) => self.0.push([before, &[name.ident.to_string()]].concat()),
            syn::UseTree::Glob(_) => self.0.push(before.to_vec()),
        }
    }
}

impl<'a> Visit<'a> for Paths {
    fn visit_item(&mut self, item: &'a syn::Item) {
        let attributes = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            _ => return syn::visit::visit_item(self, item),
        };
        let test = attributes.iter().any(|a| a.path().is_ident("cfg") && quote(a).contains("test"));
        if !test {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        self.tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        self.0.push(path.segments.iter().map(|s| s.ident.to_string()).collect());
        syn::visit::visit_path(self, path);
    }
}

fn quote(attribute: &syn::Attribute) -> String {
    match &attribute.meta {
        syn::Meta::List(list) => list.tokens.to_string(),
        _ => String::new(),
    }
}

fn files(dir: &Path, module: &Module, found: &mut BTreeMap<Module, String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            files(&path, &[&module[..], &[name]].concat(), found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let own = if matches!(&*name, "mod" | "lib" | "main") { module.clone() } else { [&module[..], &[name]].concat() };
            found.insert(own, std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// The file that a path of a file leads into, if it is another one of the crate.
fn leads_to(path: &[String], from: &Module, all: &BTreeMap<Module, String>) -> Option<Module> {
    let mut here = match path.first().map(String::as_str) {
        Some("crate") => Vec::new(),
        Some("self" | "super") => from.clone(),
        _ => return None,
    };
    let mut found = None;
    for (index, segment) in path.iter().enumerate() {
        match segment.as_str() {
            "crate" | "self" if index == 0 => {}
            "super" => {
                here.pop();
            }
            name => {
                here.push(name.to_owned());
                if !all.contains_key(&here) {
                    break;
                }
            }
        }
        if all.contains_key(&here) {
            found = Some(here.clone());
        }
    }
    found.filter(|to| to != from && !from.starts_with(to))
}

/// The circles of a crate's sources, each with its files in order.
pub fn circles(sources: &Path) -> Vec<Vec<String>> {
    let mut all = BTreeMap::new();
    files(sources, &Vec::new(), &mut all);
    let mut uses: BTreeMap<&Module, BTreeSet<Module>> = BTreeMap::new();
    for (module, text) in &all {
        let mut paths = Paths::default();
        paths.visit_file(&syn::parse_file(text).unwrap());
        let own = paths.0.iter().filter(|p| p.first().is_some_and(|first| is_own(first)));
        uses.insert(module, own.filter_map(|path| leads_to(path, module, &all)).collect());
    }
    // Two files are in one circle if each is reached from the other.
    let reached = |from: &Module| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(module) = open.pop() {
            for next in uses.get(&module).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    open.push(next.clone());
                }
            }
        }
        seen
    };
    let reach: BTreeMap<&Module, BTreeSet<Module>> = all.keys().map(|module| (module, reached(module))).collect();
    let mut circles: BTreeSet<Vec<String>> = BTreeSet::new();
    for (module, from_here) in &reach {
        let mut circle: Vec<String> =
            from_here.iter().filter(|other| reach[other].contains(*module)).map(|other| other.join("::")).collect();
        circle.sort();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("lib.rs", "mod a; mod b; mod c;");
        write("a.rs", "use crate::{b::{B, self}, c};\n#[cfg(test)] mod tests { use crate::c::D; }");
        write("b.rs", "fn f() { super::c::g() }");
        write("c.rs", "#[cfg(test)] mod tests { use crate::a::A; }");
        assert_eq!(circles(dir.path()), Vec::<Vec<String>>::new());
        write("c.rs", "fn g() { let x: crate::a::A; }");
        assert_eq!(circles(dir.path()), [["a", "b", "c"]]);
    }
}
