//! The walk through an incident of docs/operations.md, command by command.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::peers::root;
use crate::support::proxy::BINARY;
use crate::support::{Backend, Echo, Fleet, Tidegate};

const CLIENTS: usize = 30;

/// A fenced block: its language and its lines.
type Block = (String, String);

fn blocks(page: &str) -> Vec<Block> {
    let fenced = page.split("```").skip(1).step_by(2);
    fenced
        .map(|block| block.split_once('\n').unwrap())
        .map(|(language, text)| (language.to_owned(), text.to_owned()))
        .collect()
}

/// The page's addresses and times as they are here, in this order.
fn localised(text: &str, names: &[(String, String)]) -> String {
    let replaced = names.iter();
    replaced.fold(text.to_owned(), |text, (there, here)| {
        text.replace(there, here)
    })
}

/// A line that differs from another only where figures do and columns stand.
fn shape(line: &str) -> String {
    let mut shape = String::new();
    for word in line.split_whitespace() {
        let mut last = ' ';
        for c in word
            .chars()
            .map(|c| if c.is_ascii_digit() { '#' } else { c })
        {
            if c != '#' || last != '#' {
                shape.push(c);
            }
            last = c;
        }
        shape.push(' ');
    }
    shape
}

/// What every command of a block prints.
fn run(commands: &str, directory: &Path) -> String {
    let binaries = Path::new(BINARY).parent().unwrap().display();
    let path = format!("{binaries}:{}", std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-e", "-c", commands])
        .env("PATH", path)
        .current_dir(directory)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{commands}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every line of the page but `…` is printed, in this order.
#[track_caller]
fn assert_printed(expected: &str, printed: &str, names: &[(String, String)]) {
    // Servers by name, so that one is not taken for another.
    let named = |text: &str| {
        let server = |(text, at): (String, usize), (there, here): &(String, String)| {
            let name = format!("server-{}", ['a', 'b', 'c'][at]);
            (text.replace(there, &name).replace(here, &name), at + 1)
        };
        names.iter().take(3).fold((text.to_owned(), 0), server).0
    };
    let mut printed_lines = named(printed)
        .lines()
        .map(shape)
        .collect::<Vec<_>>()
        .into_iter();
    for line in named(expected)
        .lines()
        .filter(|line| !line.is_empty() && *line != "…")
    {
        assert!(
            printed_lines.any(|printed| printed == shape(line)),
            "not printed, or not in its place: {line}\n{printed}"
        );
    }
}

#[test]
fn every_command_of_the_operations_page_does_what_the_page_says() {
    let echoes = Echo::start_many::<3>();
    let admin = Backend::refusing().address();
    let names: Vec<(String, String)> = (1..)
        .map(|at| format!("10.0.0.{at}:8080"))
        .zip(echoes.iter().map(ToString::to_string))
        .chain([
            ("127.0.0.1:9900".to_owned(), admin.to_string()),
            ("0.0.0.0:8080".to_owned(), "127.0.0.1:0".to_owned()),
            ("--within 30s".to_owned(), "--within 500ms".to_owned()),
        ])
        .collect();
    let page = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let mut blocks = blocks(&page).into_iter();
    let (_, toml) = blocks.next().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let toml = format!("{}\n[log]\nformat = \"json\"\n", localised(&toml, &names));
    for file in ["tidegate.toml", "edge.toml"] {
        fs::write(directory.path().join(file), &toml).unwrap();
    }
    let proxy = Tidegate::start_in(directory.path());
    let _fleet = Fleet::returning(proxy.address(), CLIENTS);
    proxy.wait_for_held(&[10, 10, 10]);
    let mut printed = String::new();
    for (language, text) in blocks {
        if language == "text" {
            assert_printed(&text, &printed, &names);
            continue;
        }
        printed = run(&localised(&text, &names), directory.path());
        if text.contains("drain --within 30s") {
            proxy.wait_for_held(&[15, 0, 15]);
        }
        if text.contains("rebalance") {
            proxy.wait_for_held(&[10, 10, 10]);
        }
    }
}
