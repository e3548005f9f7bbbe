use super::*;

const EXAMPLE: &str = include_str!("../../../deploy/worker.toml");

fn problems(text: &str, args: Args) -> Vec<String> {
    Config::parse(text, args).expect_err("it is wrong").problems
}

#[test]
fn the_example_file_says_the_defaults() {
    let parsed = Config::parse(EXAMPLE, Args::default()).unwrap();

    assert_eq!(parsed, Config::default());
}

#[test]
fn what_the_example_file_has_commented_out_are_keys_too() {
    // Tools want a sub-agent that talks.
    let example = EXAMPLE.replacen("protocol = \"lines\"", "protocol = \"json\"", 1);
    let is_key = |line: &&str| line.contains(" = ") || line.starts_with("# [");
    let uncommented = example.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if is_key(&line) => rest,
        _ => line,
    });
    // The prose shows two keys twice.
    let shown_twice = ["mounts = []", "tools = []"];
    let text: Vec<_> = uncommented
        .filter(|line| !shown_twice.contains(line))
        .collect();

    let config = Config::parse(&text.join("\n"), Args::default()).unwrap();

    assert_eq!((config.name.as_str(), config.slots), ("worker-1", 4));
    assert_eq!(config.labels["zone"], "rack-7");
    assert_eq!(
        config.token_file.as_deref(),
        Some(Path::new("/run/secrets/ganger-token"))
    );
    assert_eq!(config.agent_types["shell"].limits.cpu_seconds, Some(600));
    assert_eq!(
        config.agent_types["shell"].mounts[0].target,
        Path::new("/repo")
    );
    assert_eq!(
        config.agent_types["coder"].timeout,
        Duration::from_secs(1800)
    );
    assert_eq!(
        config.agent_types["coder"].command,
        ["/usr/local/bin/coder", "--print"]
    );
    let coder = &config.agent_types["coder"];
    assert_eq!(
        (coder.protocol, coder.hiring_depth, coder.stop_on_lease_end),
        (Protocol::Json, 1, true)
    );
    assert_eq!(coder.tools, ["TaskList", "SendMessage"]);
}

#[test]
fn flags_go_before_the_file() {
    let text =
        "coordinator = 'a:1'\nname = 'a'\nslots = 1\nteams = ['a']\n[labels]\nk = 'a'\nl = 'a'\n";
    let args = Args {
        coordinator: Some("b:2".into()),
        name: Some("b".into()),
        slots: Some(2),
        teams: vec!["b".into()],
        labels: vec![("k".into(), "b".into())],
        sandbox: Some("none".into()),
        drain_seconds: Some(3),
        ..Args::default()
    };

    let config = Config::parse(text, args).unwrap();

    let expected = Config {
        coordinator: "http://b:2".into(),
        name: "b".into(),
        slots: 2,
        teams: vec!["b".into()],
        labels: [
            ("k".to_owned(), "b".to_owned()),
            ("l".to_owned(), "a".to_owned()),
        ]
        .into(),
        sandbox: DriverKind::None,
        drain_span: Duration::from_secs(3),
        ..Config::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn all_problems_are_told_at_once() {
    let text = "
        name = 'no good'
        slots = 'two'
        colour = 'red'
        data_dir = 'here'
        sandbox = 'cardboard'
        [agent_types.coder]
        runtime = 'llm'
        timeout_seconds = 0
        mounts = [{ source = '/x', target = '/workspace' }]
        [agent_types.coder.env]
        GANGER_TASK_ID = '1'
        [agent_types.coder.limits]
        open_file = 3
        [agent_types.other]
        command = ['x']
        mounts = [{ source = '/x', target = '/inputs/x' }]
        protocol = 'morse'
        tools = ['TaskList']
        questions = 101
        hiring_depth = 4
        stall_seconds = 0
        tasks_max = 1000001
        may_create_teams = true
    ";
    let args = Args {
        coordinator: Some("https://a".into()),
        ..Args::default()
    };

    let told = problems(text, args);

    let starts = [
        "slots: ",
        "sandbox: unknown sandbox driver \"cardboard\"",
        "agent_types.coder.runtime: \"llm\" is not built in",
        "agent_types.coder.limits.open_file: unknown key (there are: open_files, ",
        "agent_types.other.protocol: \"morse\" is not spoken here",
        "colour: unknown key (there are: coordinator, ",
        "coordinator: https isn't spoken here",
        "name: \"no good\" is not ",
        "data_dir: here is not an absolute path",
        "agent_types.coder: command: ",
        "agent_types.coder: timeout_seconds: ",
        "agent_types.coder: env.GANGER_TASK_ID: ",
        "agent_types.coder: mount target \"/workspace\" ",
        "agent_types.other: questions: must be 0 to 100",
        "agent_types.other: tools: only a sub-agent with protocol = \"json\"",
        "agent_types.other: hiring_depth: must be 0 to 3",
        "agent_types.other: tasks_max: must be 0 to 1000000",
        "agent_types.other: may_create_teams: no tool that makes teams is named (tools: TeamCreate or spawn_team)",
        "agent_types.other: stall_seconds: must be at least 1",
        "agent_types.other: mounts: /inputs/x is the worker's own",
    ];
    assert_eq!(told.len(), starts.len(), "{told:#?}");
    for (problem, start) in told.iter().zip(starts) {
        assert!(
            problem.starts_with(start),
            "{problem} doesn't start with {start}"
        );
    }
}

#[test]
fn what_is_no_toml_is_told_with_its_place() {
    let told = problems("name = \nslots = 3", Args::default());

    assert_eq!(told.len(), 1);
    assert!(told[0].contains("line 1"), "{told:?}");
}

#[test]
fn addresses_are_host_and_port() {
    for good in [
        "127.0.0.1:1",
        "localhost:50051",
        "http://[::1]:5",
        "http://a.b:1/",
    ] {
        let args = Args {
            coordinator: Some(good.into()),
            ..Args::default()
        };
        assert!(Config::parse("", args).is_ok(), "{good}");
    }
    for bad in [
        "",
        "a",
        "http://a",
        "unix:/x",
        "ftp://a:1",
        "a b:1",
        "http://a:1/path",
    ] {
        let args = Args {
            coordinator: Some(bad.into()),
            ..Args::default()
        };
        let told = problems("", args);
        assert!(told[0].starts_with("coordinator: "), "{bad}: {told:?}");
    }
}

#[test]
fn what_check_config_prints_says_the_same_again() {
    let mut config = Config {
        token_file: Some("/t".into()),
        ..Config::default()
    };
    config.labels.insert("k".into(), "v \"w\"".into());
    let mut coder = AgentType::of_command(["coder"]);
    coder.mounts.push(Mount {
        source: "/code".into(),
        target: "/repo".into(),
    });
    config.agent_types.insert("coder".into(), coder);

    let again = Config::parse(&config.to_string(), Args::default()).unwrap();

    assert_eq!(again, config);
}

#[test]
fn a_token_is_one_visible_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    for (content, token) in [
        ("abc\n", Some("abc")),
        (" a \n", Some("a")),
        ("", None),
        ("a b", None),
        ("ä", None),
    ] {
        std::fs::write(&path, content).unwrap();

        assert_eq!(read_token(&path).ok().as_deref(), token, "{content:?}");
    }
}
