//! `sidekey-scan rules list | show ID | test FILE`.

use std::io::{self, Write};
use std::path::Path;

use super::args::RulesCommand;
use super::error::Failure;
use crate::scan::detect::{Rule, RuleSet, RulesError};

/// Does it, and says with which code to exit.
pub fn run(command: &RulesCommand, out: &mut dyn Write) -> Result<u8, Failure> {
    match command {
        RulesCommand::List => list(&built_in()?, out).map_err(unwritten)?,
        RulesCommand::Show { id } => {
            let rules = built_in()?;
            let unknown = || Failure::from(RulesError::Unknown { id: id.clone() }.trouble());
            show(rules.named(id).ok_or_else(unknown)?, out).map_err(unwritten)?;
        }
        RulesCommand::Test { file } => test(file, out)?,
    }
    Ok(0)
}

fn built_in() -> Result<RuleSet, Failure> {
    RuleSet::built_in().map_err(|error| error.trouble().into())
}

fn unwritten(error: io::Error) -> Failure {
    Failure::new("can't write the output", error, "look at where it goes")
}

fn list(rules: &RuleSet, out: &mut dyn Write) -> io::Result<()> {
    let width = rules.rules.iter().map(|rule| rule.info.id.len()).max().unwrap_or(0);
    for Rule { info, severity, .. } in &rules.rules {
        writeln!(out, "{:width$}  {severity:8}  {}", info.id, info.title)?;
    }
    writeln!(out, "{} rules", rules.rules.len())
}

fn show(rule: &Rule, out: &mut dyn Write) -> io::Result<()> {
    let info = &rule.info;
    writeln!(out, "{}: {}", info.id, info.title)?;
    writeln!(out, "severity: {}", rule.severity)?;
    writeln!(out, "grants: {}", info.grants)?;
    writeln!(out, "revoke: {}", info.revoke)?;
    if let Some(url) = &info.revoke_url {
        writeln!(out, "page: {url}")?;
    }
    if !rule.pattern.is_empty() {
        writeln!(out, "pattern: {}", rule.pattern)?;
    }
    for example in &rule.examples {
        writeln!(out, "example: {}", example.escape_debug())?;
    }
    for example in &rule.counterexamples {
        writeln!(out, "not: {}", example.escape_debug())?;
    }
    Ok(())
}

fn test(file: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::new(format!("can't read `{name}`"), error, "name a file with rules, in TOML")
    })?;
    let mut rules = RuleSet::default();
    rules.add(&name, &text).map_err(|error| Failure::from(error.trouble()))?;
    let problems = rules.try_examples().map_err(|error| Failure::from(error.trouble()))?;
    if !problems.is_empty() {
        return Err(Failure::several(problems.iter().map(RulesError::trouble)));
    }
    let examples: usize =
        rules.rules.iter().map(|rule| rule.examples.len() + rule.counterexamples.len()).sum();
    writeln!(out, "{} rules, {examples} examples, all as they should be", rules.rules.len())
        .map_err(unwritten)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(command: &RulesCommand) -> Result<String, Failure> {
        let mut out = Vec::new();
        run(command, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_list_has_every_rule_and_each_can_be_shown() {
        let list = said(&RulesCommand::List).unwrap();
        assert!(list.lines().count() > 250, "{list}");
        let shown = said(&RulesCommand::Show { id: "github-token".to_owned() }).unwrap();
        assert!(shown.contains("severity: critical\n") && shown.contains("\nrevoke: "), "{shown}");
        let unknown = said(&RulesCommand::Show { id: "no-such".to_owned() }).unwrap_err();
        assert!(unknown.hint.contains("rules list"));
    }

    #[test]
    fn a_file_of_rules_is_tested_by_its_examples() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rules.toml");
        let rules = |pattern: &str| {
            format!(
                "[[provider]]\nname = \"Acme\"\nfamily = \"acme\"\ngrants = \"All.\"\nrevoke = \"Do.\"\n\
                 [[provider.rule]]\nid = \"acme-key\"\ntitle = \"key\"\nseverity = \"high\"\n\
                 prefix = [\"acme_\"]\npattern = '{pattern}'\nexamples = [\"x=acme_{{A20}}\"]\n"
            )
        };
        let test = RulesCommand::Test { file: file.clone() };
        std::fs::write(&file, rules("[A-Za-z0-9]{20}")).unwrap();
        assert_eq!(said(&test).unwrap(), "1 rules, 1 examples, all as they should be\n");
        std::fs::write(&file, rules("[0-9]{20}")).unwrap();
        assert!(said(&test).unwrap_err().what.contains("is not found"));
        std::fs::write(&file, rules("[0-9")).unwrap();
        assert!(said(&test).unwrap_err().what.contains("can't be used"));
        std::fs::write(&file, "[[provider]]\nnam = 1\n").unwrap();
        assert!(said(&test).unwrap_err().what.contains("is no rules file"));
    }
}
