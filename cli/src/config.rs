//! Where the tool's settings come from: flags, `GANGER_*`, and up to three files.
//!
//! A setting is taken from the first place that says it: flag, environment variable,
//! `./ganger.toml`, `$XDG_CONFIG_HOME/ganger/config.toml`, `/etc/ganger/config.toml`, default.
//! A file that isn't there says nothing; one that can't be understood is an error that names it.
//! Nothing else of the tool reads the environment, besides the daemons' own faces.

use std::{
    env, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use crate::{globals::Globals, output::Format};

/// Where a coordinator is looked for when nothing says so.
pub const ADDR_DEFAULT: &str = "127.0.0.1:50051";

/// What all verbs go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The coordinator: `host:port`, `http://host:port` or `unix:/path`.
    pub addr: String,
    /// The file that holds the fleet token.
    pub token_file: Option<PathBuf>,
    /// The team to speak in.
    pub team: Option<String>,
    /// The member to speak as.
    pub member: Option<String>,
    /// How answers look.
    pub format: Format,
    /// When to colour.
    pub color: clap::ColorChoice,
    /// How long to wait for an answer; unset for ever.
    pub timeout: Option<Duration>,
    /// The message because of which the calls are made.
    pub because_of: Option<u64>,
    /// On whose behalf the calls are made.
    pub on_behalf_of: Option<String>,
}

/// What one configuration file says. Unknown keys are errors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSettings {
    addr: Option<String>,
    token_file: Option<PathBuf>,
    team: Option<String>,
    member: Option<String>,
    output: Option<Format>,
    color: Option<Color>,
    timeout: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Color {
    Auto,
    Always,
    Never,
}

/// A configuration file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is there and can't be read.
    #[error("can't read {path}: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It says something that makes no sense.
    #[error("{path}: {message}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What and where.
        message: String,
    },
}

impl Settings {
    /// Gathers the settings of this process.
    ///
    /// # Errors
    /// Where a configuration file is there and can't be used.
    pub fn gather(globals: &Globals) -> Result<Self, ConfigError> {
        let mut files = Vec::new();
        for path in paths(env::var_os("XDG_CONFIG_HOME"), env::var_os("HOME")) {
            files.extend(read(&path)?);
        }
        Ok(merge(globals, &files))
    }
}

/// Whether the daemons' log is asked for, where it isn't shown by itself.
pub fn wants_log() -> bool {
    env::var_os("GANGER_LOG").is_some_and(|filter| !filter.is_empty())
}

/// The configuration files in the order in which they are asked.
fn paths(
    config_home: Option<std::ffi::OsString>,
    home: Option<std::ffi::OsString>,
) -> Vec<PathBuf> {
    let user = config_home
        .map(PathBuf::from)
        // The XDG specification says to ignore relative paths.
        .filter(|path| path.is_absolute())
        .or_else(|| home.map(|home| Path::new(&home).join(".config")))
        .map(|dir| dir.join("ganger/config.toml"));
    [
        Some(PathBuf::from("ganger.toml")),
        user,
        Some(PathBuf::from("/etc/ganger/config.toml")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn read(path: &Path) -> Result<Option<FileSettings>, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(path, &text).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Unreadable {
            path: path.into(),
            source,
        }),
    }
}

fn parse(path: &Path, text: &str) -> Result<FileSettings, ConfigError> {
    let malformed = |message: String| ConfigError::Malformed {
        path: path.into(),
        message: message.trim_end().to_owned(),
    };
    let mut said: FileSettings =
        toml::from_str(text).map_err(|error| malformed(error.to_string()))?;
    if let Some(timeout) = &said.timeout {
        humantime::parse_duration(timeout)
            .map_err(|error| malformed(format!("timeout {timeout:?}: {error}")))?;
    }
    // A token file is named as seen from the file that names it.
    if let (Some(token), Some(dir)) = (&said.token_file, path.parent()) {
        said.token_file = Some(dir.join(token));
    }
    Ok(said)
}

/// A member as it is said: `bob`, `bob@red`, each with `/2` behind it to pin an incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address<'t> {
    /// Its name.
    pub name: &'t str,
    /// The team that the address says.
    pub team: Option<&'t str>,
    /// The pinned incarnation.
    pub incarnation: Option<&'t str>,
}

/// Takes a member apart. What its parts say is the coordinator's to check.
pub fn address(member: &str) -> Address<'_> {
    let (member, incarnation) = match member.split_once('/') {
        Some((member, incarnation)) => (member, Some(incarnation)),
        None => (member, None),
    };
    let (name, team) = match member.split_once('@') {
        Some((name, team)) => (name, Some(team)),
        None => (member, None),
    };
    Address {
        name,
        team,
        incarnation,
    }
}

fn merge(globals: &Globals, files: &[FileSettings]) -> Settings {
    fn first<T>(
        flag: Option<T>,
        files: &[FileSettings],
        key: impl Fn(&FileSettings) -> Option<T>,
    ) -> Option<T> {
        flag.or_else(|| files.iter().find_map(key))
    }
    // An empty environment variable says nothing.
    let text = |flag: &Option<String>| flag.clone().filter(|text| !text.is_empty());
    let token_file = globals
        .token_file
        .clone()
        .filter(|path| !path.as_os_str().is_empty());

    let team = first(text(&globals.team), files, |file| file.team.clone());
    let member = first(text(&globals.member), files, |file| file.member.clone());
    let address = member.as_deref().map(address);
    Settings {
        addr: first(text(&globals.addr), files, |file| file.addr.clone())
            .unwrap_or_else(|| ADDR_DEFAULT.into()),
        token_file: first(token_file, files, |file| file.token_file.clone()),
        team: team.or_else(|| address?.team.map(ToOwned::to_owned)),
        member,
        format: first(globals.output, files, |file| file.output).unwrap_or_default(),
        color: first(globals.color, files, |file| {
            file.color.map(|color| match color {
                Color::Auto => clap::ColorChoice::Auto,
                Color::Always => clap::ColorChoice::Always,
                Color::Never => clap::ColorChoice::Never,
            })
        })
        .unwrap_or(clap::ColorChoice::Auto),
        timeout: first(globals.timeout, files, |file| {
            humantime::parse_duration(file.timeout.as_deref()?).ok()
        }),
        // What one call is about is no setting: files don't say it.
        because_of: globals.because_of,
        on_behalf_of: globals.on_behalf_of.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> FileSettings {
        parse(Path::new("/somewhere/ganger.toml"), text).unwrap()
    }

    #[test]
    fn flags_go_before_project_before_user_before_system_before_defaults() {
        let globals = Globals {
            team: Some("flag".into()),
            ..Globals::default()
        };
        let files = [
            file("team = 'project'\nmember = 'project'"),
            file("team = 'user'\nmember = 'user'\naddr = 'user:1'"),
            file("addr = 'system:1'\noutput = 'json'\ntimeout = '3s'"),
        ];

        let settings = merge(&globals, &files);

        assert_eq!(
            settings,
            Settings {
                addr: "user:1".into(),
                token_file: None,
                team: Some("flag".into()),
                member: Some("project".into()),
                format: Format::Json,
                color: clap::ColorChoice::Auto,
                timeout: Some(Duration::from_secs(3)),
                because_of: None,
                on_behalf_of: None,
            }
        );
    }

    #[test]
    fn team_is_that_of_the_members_address_where_none_is_said() {
        let team = |team: Option<&str>, member: &str| {
            let globals = Globals {
                team: team.map(Into::into),
                member: Some(member.into()),
                ..Globals::default()
            };
            merge(&globals, &[]).team
        };

        assert_eq!(team(None, "team-lead@red/2").as_deref(), Some("red"));
        assert_eq!(team(None, "team-lead/2"), None);
        // That they differ is for the coordinator to refuse.
        assert_eq!(team(Some("blue"), "bob@red").as_deref(), Some("blue"));
    }

    #[test]
    fn nothing_said_means_the_defaults() {
        let settings = merge(&Globals::default(), &[]);

        assert_eq!(settings.addr, "127.0.0.1:50051");
        assert_eq!(settings.format, Format::Table);
        assert_eq!(settings.timeout, None);
    }

    #[test]
    fn empty_variable_says_nothing() {
        let globals = Globals {
            addr: Some(String::new()),
            token_file: Some(PathBuf::new()),
            ..Globals::default()
        };

        let settings = merge(&globals, &[file("addr = 'file:1'")]);

        assert_eq!(settings.addr, "file:1");
        assert_eq!(settings.token_file, None);
    }

    #[test]
    fn token_file_is_found_beside_the_file_that_names_it() {
        assert_eq!(
            file("token_file = 'token'").token_file,
            Some("/somewhere/token".into())
        );
        assert_eq!(
            file("token_file = '/run/token'").token_file,
            Some("/run/token".into())
        );
    }

    #[test]
    fn unknown_key_and_wrong_value_are_errors_that_name_the_file() {
        for text in ["tokenfile = 'x'", "timeout = 'soon'", "output = 'xml'"] {
            let error = parse(Path::new("/etc/ganger/config.toml"), text).unwrap_err();

            assert!(
                error.to_string().starts_with("/etc/ganger/config.toml: "),
                "{error}"
            );
        }
    }

    #[test]
    fn files_are_asked_from_project_to_system() {
        assert_eq!(
            paths(None, Some("/home/x".into())),
            [
                PathBuf::from("ganger.toml"),
                "/home/x/.config/ganger/config.toml".into(),
                "/etc/ganger/config.toml".into()
            ]
        );
        assert_eq!(
            paths(Some("/xdg".into()), Some("/home/x".into()))[1],
            PathBuf::from("/xdg/ganger/config.toml")
        );
        assert_eq!(
            paths(Some("relative".into()), None),
            [
                PathBuf::from("ganger.toml"),
                "/etc/ganger/config.toml".into()
            ]
        );
    }
}
