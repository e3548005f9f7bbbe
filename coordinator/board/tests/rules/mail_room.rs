//! The bounds of messages, mailboxes and notices (M5).

use board::{
    command::{NewLetter, NewTask, Removal, Wish},
    id::Revision,
    limits,
    mail::MailKind,
    refusal::Refusal,
    team::MemberKind,
};

use crate::support::*;

/// M5.
#[test]
fn a_mailbox_takes_a_thousand_messages_and_no_more_until_one_is_acknowledged() {
    let mut script = Script::new();
    script.is_checked = false;
    fill(
        &mut script,
        "bob",
        [LEAD, "alice"],
        limits::MAILBOX_MESSAGES_MAX,
        "hi",
    );
    script.check();

    let one = script.would("hana", send(words(["bob"], "hi")));
    // All or nothing: not even the others get it.
    let several = script.would("hana", send(words(["hugo", "bob"], "hi")));
    let all = script.would("hana", send(to_everybody("hi")));

    let full = Refusal::MailboxFull {
        member: name("bob"),
        count: 1_000,
        bytes: 4_000,
    };
    for refused in [one, several, all] {
        assert_eq!(refused, Err(full.clone()));
    }
    script.by("bob", ack(Some(1), &[])).unwrap();
    script.send("hana", words(["bob"], "hi")).unwrap();
}

/// Fills a mailbox with messages of these members, one after the other.
fn fill(script: &mut Script, to: &str, by: [&str; 2], count: usize, text: &str) {
    let letter = NewLetter {
        summary: "s".into(),
        ..words([to], text)
    };
    for from in by.into_iter().cycle().take(count) {
        let letter = match text {
            "hi" => words([to], "hi"),
            _ => letter.clone(),
        };
        script.send(from, letter).unwrap();
    }
}

/// M5: whatever one member does, the others and the coordinator still reach the owner.
#[test]
fn one_sender_fills_at_most_half_of_anothers_mailbox() {
    let mut script = Script::new();
    script.is_checked = false;
    fill(
        &mut script,
        "bob",
        ["alice"; 2],
        limits::MAILBOX_SHARE_MESSAGES_MAX,
        "hi",
    );
    script.check();

    let one = script.would("alice", send(words(["bob"], "hi")));
    let several = script.would("alice", send(words(["hana", "bob"], "hi")));
    let all = script.would("alice", send(to_everybody("hi")));

    let full = Refusal::MailboxShareFull {
        member: name("bob"),
        sender: "alice".into(),
        count: 500,
        bytes: 2_000,
    };
    for refused in [one, several, all] {
        assert_eq!(refused, Err(full.clone()));
    }
    script.send("alice", words(["hana"], "hi")).unwrap();
    script.send(LEAD, words(["bob"], "hi")).unwrap();
    let told = script.create(LEAD, &[owned_by("bob", card("a"))]).unwrap();
    told.mails(&["coordinator → bob: TaskAssignment: a"]);
    // Who leaves and joins again is no other sender.
    let leave = Wish::RemoveMember(t(), name("alice"), Removal::default());
    script.by("alice", leave).unwrap();
    let join = Wish::AddMember(t(), member("alice", MemberKind::Agent));
    script.by("alice", join).unwrap();
    assert_eq!(script.would("alice", send(words(["bob"], "hi"))), Err(full));
    script.by("bob", ack(Some(1), &[])).unwrap();
    script.send("alice", words(["bob"], "hi")).unwrap();
    script.check();
}

#[test]
fn one_sender_has_at_most_half_of_a_mailboxs_bytes() {
    let mut script = Script::new();
    script.is_checked = false;
    let text = "x".repeat(limits::MESSAGE_TEXT_LEN_MAX - 1);
    let count = limits::MAILBOX_SHARE_BYTES_MAX / limits::MESSAGE_TEXT_LEN_MAX;
    fill(&mut script, "bob", ["alice"; 2], count - 1, &text);
    let with = |len: usize| NewLetter {
        summary: "s".into(),
        ..words(["bob"], &"x".repeat(len))
    };
    let left = limits::MESSAGE_TEXT_LEN_MAX - 1;

    script.send("alice", with(left - 1)).unwrap();
    let past = script.would("alice", send(with(1)));
    script.send("hana", with(left)).unwrap();

    let full = Refusal::MailboxShareFull {
        member: name("bob"),
        sender: "alice".into(),
        count,
        bytes: limits::MAILBOX_SHARE_BYTES_MAX - 1,
    };
    assert_eq!(past, Err(full));
    script.check();
}

/// The sub-agents of tasks that are nobody's are senders of their own.
#[test]
fn a_sub_agent_has_a_share_of_its_own() {
    let mut script = Script::given(&[job("a"), job("b")]);
    script.is_checked = false;
    script.dispatch(1, "w1");
    script.dispatch(2, "w1");
    for _ in 0..limits::MAILBOX_SHARE_MESSAGES_MAX {
        script.by_agent(1, 1, send(words([LEAD], "hi"))).unwrap();
    }

    let refused = script
        .by_agent(1, 1, send(words([LEAD], "hi")))
        .unwrap_err();
    script.by_agent(2, 1, send(words([LEAD], "hi"))).unwrap();

    let is_its = matches!(&refused, Refusal::MailboxShareFull { sender, .. } if sender == "task:1");
    assert!(is_its, "{refused:?}");
    script.check();
}

#[test]
fn a_mailbox_takes_16_mib_and_no_byte_more() {
    let mut script = Script::new();
    script.is_checked = false;
    let text = "x".repeat(limits::MESSAGE_TEXT_LEN_MAX - 1);
    let whole = NewLetter {
        summary: "s".into(),
        ..words(["bob"], &text)
    };
    fill(&mut script, "bob", [LEAD, "alice"], 255, &text);
    let with = |len: usize| NewLetter {
        text: "x".repeat(len).into(),
        ..whole.clone()
    };
    let left = limits::MAILBOX_BYTES_MAX - 255 * limits::MESSAGE_TEXT_LEN_MAX - 1;

    let past = script.would("hana", send(with(left + 1)));
    let at = script.send("hana", with(left));

    let full = Refusal::MailboxFull {
        member: name("bob"),
        count: 255,
        bytes: 255 * limits::MESSAGE_TEXT_LEN_MAX,
    };
    assert_eq!(past, Err(full));
    at.unwrap();
    script.check();
}

#[test]
fn each_bound_of_a_message_holds_at_it_and_refuses_one_past_it() {
    let script = Script::new();
    let long = |len: usize| "x".repeat(len);
    let text = |len: usize| words(["bob"], &long(len));
    let payload = |len: usize| NewLetter {
        payload: long(len).into(),
        ..words(["bob"], "hi")
    };
    let correlation = |len: usize| tied(&long(len), words(["bob"], "hi"));
    let summary = |len: usize| NewLetter {
        summary: "ä".repeat(len).into(),
        ..words(["bob"], "hi")
    };
    let to = |len: usize| words(vec!["bob"; len], "hi");
    type Made<'m> = &'m dyn Fn(usize) -> NewLetter;
    let bounds: [(&str, Made<'_>, usize); 5] = [
        ("text", &text, limits::MESSAGE_TEXT_LEN_MAX),
        ("payload", &payload, limits::MESSAGE_PAYLOAD_LEN_MAX),
        ("correlation_id", &correlation, limits::CORRELATION_LEN_MAX),
        ("summary", &summary, limits::MESSAGE_SUMMARY_CHARS_MAX),
        ("to", &to, limits::RECIPIENTS_MAX),
    ];
    for (name, letter, bound) in bounds {
        script.would("alice", send(letter(bound))).unwrap();
        let refused = script.would("alice", send(letter(bound + 1))).unwrap_err();
        let (field, len, max) = match refused {
            Refusal::TooLong {
                field, len, max, ..
            } => (field, len, max),
            Refusal::TooMany { field, count, max } => (field, count, max),
            other => panic!("{other:?}"),
        };
        assert_eq!((field, len, max), (name, bound + 1, bound));
    }
}

#[test]
fn a_call_acknowledges_a_thousand_by_name_and_no_more() {
    let script = Script::new();
    let ids: Vec<u64> = (1..=limits::ACKS_MAX as u64 + 1).collect();

    let at = script.would("bob", ack(None, &ids[1..]));
    let past = script.would("bob", ack(None, &ids));

    at.unwrap();
    let too_many = Refusal::TooMany {
        field: "message_ids",
        count: limits::ACKS_MAX + 1,
        max: limits::ACKS_MAX,
    };
    assert_eq!(past.unwrap_err(), too_many);
}

#[test]
fn a_long_description_is_cut_and_said_to_be_cut() {
    let mut script = Script::new();
    let max = limits::NOTICE_TEXT_LEN_MAX;
    let with = |len: usize| NewTask {
        description: "x".repeat(len).into(),
        ..owned_by("alice", card("a"))
    };

    script.create(LEAD, &[with(max), with(max + 1)]).unwrap();

    assert_eq!(script.letter(1).text.len(), max);
    let said = script.letter(2).text.to_string();
    let whole = max + 1;
    let cut = format!(
        "{}\n\n[Cut: the whole has {whole} bytes, and is in task #2.]",
        "x".repeat(max)
    );
    assert_eq!(said, cut);
}

/// P4: a thousand notices stay one commit.
#[test]
fn many_notices_of_one_command_say_a_line_each() {
    let mut script = Script::new();
    let long = NewTask {
        description: "x".repeat(4_000).into(),
        ..owned_by("alice", card("a"))
    };

    let told = script.create(LEAD, &vec![long; 1_000]).unwrap();

    let letters = told
        .decision
        .records
        .iter()
        .filter_map(|record| match record {
            board::record::Record::Letter(_, letter) => Some(letter.size()),
            _ => None,
        });
    let sizes: Vec<usize> = letters.collect();
    assert_eq!(sizes.len(), 1_000);
    let total: usize = sizes.iter().sum();
    let most = limits::NOTICES_LEN_MAX + 4_100 + 1_000 * (limits::NOTICE_LINE_LEN_MAX + 100);
    assert!(total > limits::NOTICES_LEN_MAX && total < most, "{total}");
}

/// M5: the coordinator's mail has a reserve, and then one digest stands for the rest.
#[test]
fn notices_have_room_for_a_hundred_more_and_then_a_digest_says_from_where_on_they_are_missing() {
    let mut script = Script::new();
    script.is_checked = false;
    fill(
        &mut script,
        "alice",
        [LEAD, "bob"],
        limits::MAILBOX_MESSAGES_MAX,
        "hi",
    );
    let mut assign = || {
        let told = script.create(LEAD, &[owned_by("alice", card("a"))]);
        let told = told.unwrap();
        let revision = told.decision.events.last().unwrap().revision;
        (told.mail, revision)
    };
    for _ in 0..limits::MAILBOX_RESERVE {
        assert_eq!(assign().0, ["coordinator → alice: TaskAssignment: a"]);
    }

    let (first, Revision(missing)) = assign();
    let (second, _) = assign();

    let digest = format!("notices are missing from revision {missing} on");
    assert_eq!(first, [format!("coordinator → alice: Digest: {digest}")]);
    assert!(second.is_empty(), "one stands for all that follow");
    script.check();
    let last = script.mailbox("alice").pop().unwrap();
    assert_eq!(last, format!("1101 Digest: {digest}"));
    assert_eq!(script.letter(1_101).revision, Some(Revision(missing)));

    // With room again they come again; the digest stays until it is acknowledged.
    script.by("alice", ack(Some(2), &[])).unwrap();
    let told = script
        .create(LEAD, &[owned_by("alice", card("b"))])
        .unwrap();
    told.mails(&["coordinator → alice: TaskAssignment: b"]);
    let told = script
        .create(LEAD, &[owned_by("alice", card("c"))])
        .unwrap();
    told.mails(&[]);
    script.by("alice", ack(None, &[1_101])).unwrap();
    script
        .create(LEAD, &[owned_by("alice", card("d"))])
        .unwrap();
    let told = script
        .create(LEAD, &[owned_by("alice", card("e"))])
        .unwrap();
    assert!(told.mail[0].contains("Digest"), "{:?}", told.mail);
    script.check();
}

#[test]
fn a_mailbox_full_of_bytes_has_a_reserve_of_bytes_for_notices() {
    let mut script = Script::new();
    script.is_checked = false;
    let whole = "x".repeat(limits::MESSAGE_TEXT_LEN_MAX - 1);
    fill(&mut script, "alice", [LEAD, "bob"], 256, &whole);
    let long = NewTask {
        description: "x".repeat(limits::NOTICE_TEXT_LEN_MAX).into(),
        ..owned_by("alice", card("a"))
    };

    let mut kinds = vec![];
    while kinds.last() != Some(&MailKind::Digest) && kinds.len() < 1_000 {
        let id = 257 + kinds.len() as u64;
        script.create(LEAD, std::slice::from_ref(&long)).unwrap();
        kinds.push(script.letter(id).kind);
    }

    let size = script.letter(257).size();
    assert_eq!(kinds.len() - 1, limits::MAILBOX_RESERVE_LEN / size);
    script.check();
}
