//! The flags of `service create` and `service update`, from the one table that says what each does.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use swarm_workload::{FLAGS, Flag, Given, On};

/// Short forms, as the docker CLI has them.
const SHORT: &[(&str, char)] = &[("env", 'e'), ("label", 'l'), ("publish", 'p'), ("tty", 't'), ("user", 'u'), ("workdir", 'w')];

/// Flags of a new service, or of one that is changed, each with its value, in the order of the table.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServiceFlags<const UPDATE: bool>(pub(crate) Vec<Given>);

fn taken<const UPDATE: bool>() -> impl Iterator<Item = &'static Flag> {
    let other = if UPDATE { On::Create } else { On::Update };
    FLAGS.iter().filter(move |flag| flag.on != other)
}

impl<const UPDATE: bool> Args for ServiceFlags<UPDATE> {
    fn augment_args(command: Command) -> Command {
        taken::<UPDATE>().fold(command, |command, flag| {
            let help = if flag.many { format!("{}. Once for each", flag.help) } else { flag.help.to_owned() };
            let mut arg = Arg::new(flag.name).long(flag.name).help(help).help_heading("The service");
            arg = if flag.value.is_empty() {
                arg.action(ArgAction::Set).num_args(0..=1).require_equals(true).default_missing_value("true").value_name("true|false")
            } else {
                arg.action(if flag.many { ArgAction::Append } else { ArgAction::Set }).value_name(flag.value).allow_hyphen_values(true)
            };
            let short = SHORT.iter().find(|(name, _)| *name == flag.name).map(|(_, short)| *short);
            command.arg(if let Some(short) = short { arg.short(short) } else { arg })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<const UPDATE: bool> FromArgMatches for ServiceFlags<UPDATE> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Vec::new();
        for flag in taken::<UPDATE>() {
            let values = matches.get_many::<String>(flag.name).into_iter().flatten();
            given.extend(values.map(|value| (flag.name.to_owned(), value.clone())));
        }
        Ok(Self(given))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
