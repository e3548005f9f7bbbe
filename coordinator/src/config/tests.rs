//! What is sound, what is not, and that it is told.

use super::*;

fn args() -> Args {
    Args::default()
}

fn problems(args: &Args) -> Vec<String> {
    Config::load(args).unwrap_err().0
}

#[test]
fn nothing_said_is_loopback_without_token() {
    let config = Config::load(&args()).unwrap();

    assert_eq!(config.addr, DEFAULT_ADDR.parse().unwrap());
    assert_eq!(config.data_dir, Path::new(DEFAULT_DATA_DIR));
    assert_eq!(config.token, None);
    assert_eq!(config.leases, Leases::default());
}

#[test]
fn listening_beyond_loopback_wants_a_token_or_ones_word() {
    let dir = tempfile::tempdir().unwrap();
    let token_file = dir.path().join("token");
    std::fs::write(&token_file, "s3cret\n").unwrap();
    let open = Args {
        addr: Some("0.0.0.0:50051".into()),
        ..args()
    };

    let [problem] = &problems(&open)[..] else {
        panic!("one problem");
    };
    assert!(problem.contains("--token-file") && problem.contains("--insecure"));

    let insecure = Args {
        insecure: true,
        ..open.clone()
    };
    assert!(Config::load(&insecure).is_ok());
    let guarded = Args {
        token_file: Some(token_file),
        ..open
    };
    let token = Config::load(&guarded).unwrap().token.unwrap();
    assert_eq!(token.reveal(), "s3cret");
    assert!(!format!("{token:?}").contains("s3cret"));
}

#[test]
fn all_problems_are_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let bad = Args {
        addr: Some("nowhere".into()),
        token_file: Some(dir.path().join("absent")),
        lease: Some(Duration::from_millis(10)),
        events_kept: Some(0),
        disk_floor_percent: Some(101),
        watch_patience: Some(Duration::from_millis(999)),
        tasks_kept: Some(0),
        tasks_kept_for: Some(Duration::from_millis(999)),
        connections_per_address: Some(0),
        unread_bytes: Some(1),
        expect_types: vec!["a b".into()],
        default_agent_type: Some("c d".into()),
        ..args()
    };

    assert_eq!(problems(&bad).len(), 13, "{:#?}", problems(&bad));
}

#[test]
fn unknown_keys_of_a_file_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("coordinator.toml");
    std::fs::write(&path, "adress = \"127.0.0.1:1\"\n").unwrap();
    let bad = Args {
        config: Some(path),
        ..args()
    };

    assert!(problems(&bad)[0].contains("adress"));
}

#[test]
fn example_file_has_every_key_at_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/coordinator.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let example = Args {
        config: Some(path),
        ..args()
    };

    let config = Config::load(&example).unwrap();

    let defaults = Config::load(&args()).unwrap();
    assert_eq!(format!("{config:?}"), format!("{defaults:?}"));
    let Raw {
        addr,
        data_dir,
        token_file,
        insecure,
        expect_types,
        default_agent_type,
        heartbeat,
        lease,
        grace,
        events_kept,
        events_kept_for,
        teams_kept_for,
        tasks_kept,
        tasks_kept_for,
        disk_floor_bytes,
        disk_floor_percent,
        disk_reserve_bytes,
        watch_patience,
        connections_per_address,
        unread_bytes,
        threads,
        limits,
    } = toml::from_str(&text).unwrap();
    assert!(addr.is_some() && data_dir.is_some() && expect_types.is_some());
    assert_eq!(default_agent_type.as_deref(), Some("general-purpose"));
    assert!(heartbeat.is_some() && lease.is_some() && grace.is_some());
    assert_eq!(events_kept, Some(1_000_000));
    assert_eq!(tasks_kept, Some(1_000_000));
    assert!(tasks_kept_for.is_some());
    assert_eq!(disk_floor_bytes, Some(512 << 20));
    assert_eq!(disk_floor_percent, Some(5));
    assert_eq!(disk_reserve_bytes, Some(RESERVE_BYTES));
    assert!(events_kept_for.is_some() && teams_kept_for.is_some());
    assert!(watch_patience.is_some());
    assert_eq!(connections_per_address, None);
    assert!(text.contains("\n# connections_per_address = "));
    assert_eq!(unread_bytes, Some(128 << 20));
    assert_eq!((insecure, threads), (Some(false), Some(1)));
    assert_eq!(token_file, None);
    assert!(text.contains("\n# token_file = "));
    assert!(limits.is_none() && text.contains("\n# [limits.agent_types]\n"));
    assert!(text.contains("\n# [limits.labels]\n"));
}

#[test]
fn bounds_of_types_and_labels_are_read_and_what_can_bear_none_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("coordinator.toml");
    let in_file = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Config::load(&Args {
            config: Some(path.clone()),
            ..args()
        })
    };

    let bounds = "[limits.agent_types]\ncoder = 4\n[limits.labels]\n\"model:opus\" = 0\n";
    let limits = in_file(bounds).unwrap().limits;

    let coder = AgentTypeName::parse("coder").unwrap();
    assert_eq!(limits.agent_types, [(coder, 4)].into());
    assert_eq!(limits.labels, [("model:opus".into(), 0)].into());
    let unsound =
        "[limits.agent_types]\n\"a b\" = 1\ncoder = 1000001\n[limits.labels]\n\" \" = 1\n";
    let ConfigError(problems) = in_file(unsound).unwrap_err();
    assert_eq!(problems.len(), 3, "{problems:#?}");
}

#[test]
fn flags_go_before_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("coordinator.toml");
    std::fs::write(&path, "addr = \"127.0.0.1:1\"\nlease = \"30s\"\n").unwrap();
    let both = Args {
        config: Some(path),
        addr: Some("127.0.0.1:2".into()),
        ..args()
    };

    let config = Config::load(&both).unwrap();

    assert_eq!(config.addr.port(), 2);
    assert_eq!(config.leases.lease, Duration::from_secs(30));
}
