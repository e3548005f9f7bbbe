//! Mailboxes, one group at a time.

use board::{
    command::{Ack, Addressees, NewLetter, NewMember, Removal},
    id::Incarnation,
    mail::{MailKind, Sender},
    team::MemberKind,
};
use oneshot::error::TryRecvError::Empty;

use super::*;
use crate::{hub::Closed, store::Unreadable};

fn name(name: &str) -> MemberName {
    MemberName::parse(name).unwrap()
}

fn member(name: &str, kind: MemberKind) -> Wish {
    let member = NewMember {
        name: self::name(name),
        kind,
        role: "".into(),
        description: "".into(),
        instructions: "be brief".into(),
        agent_type: (kind == MemberKind::Hosted).then(shell),
        model: "".into(),
        plan_required: false,
    };
    Wish::AddMember(team(), member)
}

fn words(to: Addressees, text: &str) -> Wish {
    let letter = NewLetter {
        to,
        kind: MailKind::Text,
        text: text.into(),
        summary: "".into(),
        payload: "".into(),
        correlation: "".into(),
        approve: None,
        task: None,
        timeout: None,
    };
    Wish::SendMessage(team(), Box::new(letter))
}

fn to(names: &[&str]) -> Addressees {
    Addressees::Named(names.iter().map(|to| name(to)).collect())
}

fn ack_all() -> Wish {
    let ack = Ack {
        up_to: Some(MessageId(u64::MAX)),
        messages: Vec::new(),
    };
    Wish::AckMessages(team(), ack)
}

/// All of somebody's mail.
fn mail_of(who: &str) -> MailWanted {
    MailWanted {
        team: team(),
        caller: Caller {
            member: Some(name(who)),
            ..Caller::default()
        },
        filter: MailFilter::default(),
        after: MessageId(0),
        count_max: 100,
        bytes_max: usize::MAX,
        acknowledges: false,
        watches: false,
    }
}

fn texts(letters: &[Arc<Letter>]) -> Vec<&str> {
    letters.iter().map(|letter| &*letter.text).collect()
}

impl World {
    /// The default team with the agents alice and bob, and hana, who is run.
    fn with_members() -> Self {
        let mut world = Self::new();
        for agent in ["alice", "bob"] {
            world.called(member(agent, MemberKind::Agent)).unwrap();
        }
        world.called(member("hana", MemberKind::Hosted)).unwrap();
        world
    }

    fn mail(&mut self, wanted: MailWanted) -> oneshot::Receiver<MailReply> {
        let (reply, answer) = oneshot::channel();
        self.take(Input::Mail(Box::new(wanted), reply));
        answer
    }

    /// A group of one look into a mailbox.
    fn mailed(&mut self, wanted: MailWanted) -> MailPage {
        let mut page = self.mail(wanted);
        self.flush();
        page.try_recv().unwrap().unwrap()
    }

    fn call_as(&mut self, who: &str, wish: Wish) -> CallReply {
        let (reply, mut answer) = oneshot::channel();
        let call = Call {
            caller: mail_of(who).caller,
            request: None,
            wish,
        };
        self.take(Input::Call(Box::new(call), reply));
        self.flush();
        answer.try_recv().unwrap()
    }
}

#[test]
fn message_of_the_same_group_is_read_and_let_out_with_it() {
    let mut world = World::with_members();

    let mut sent = world.call(words(to(&["bob"]), "one"), None);
    let mut to_all = world.call(words(Addressees::Everybody, "two"), None);
    let mut page = world.mail(mail_of("bob"));
    assert_eq!(sent.try_recv(), Err(Empty));
    assert!(matches!(page.try_recv(), Err(Empty)));
    world.flush();

    assert!(sent.try_recv().unwrap().is_ok() && to_all.try_recv().unwrap().is_ok());
    let page = page.try_recv().unwrap().unwrap();
    assert_eq!(texts(&page.letters), ["one", "two"]);
    assert_eq!(
        (page.unread, page.has_more, page.at),
        (2, false, MessageId(2))
    );
    assert_eq!(page.incarnation, Incarnation(1));
    // And from the store, and after a restart.
    assert_eq!(texts(&world.mailed(mail_of("bob")).letters), ["one", "two"]);
    let mut world = world.restart();
    assert_eq!(texts(&world.mailed(mail_of("bob")).letters), ["one", "two"]);
}

#[test]
fn watcher_gets_what_is_durable_after_what_it_read_and_nothing_twice() {
    let mut world = World::with_members();
    world.call(words(to(&["bob"]), "before"), None);
    let wanted = MailWanted {
        watches: true,
        ..mail_of("bob")
    };
    let mut page = world.mail(wanted);
    // Sent by the same group, after the look.
    world.call(words(to(&["bob"]), "meanwhile"), None);
    world.flush();
    let page = page.try_recv().unwrap().unwrap();
    let watcher = page.watcher.unwrap();

    assert_eq!(texts(&page.letters), ["before"]);
    assert_eq!(texts(&watcher.recent(page.at, 9).unwrap()), ["meanwhile"]);
    world.call(words(Addressees::Everybody, "later"), None);
    world.call(words(to(&["alice"]), "not his"), None);
    let before = watcher.recent(page.at, 9).unwrap();
    assert_eq!(texts(&before), ["meanwhile"], "it is not durable yet");
    world.flush();
    let recent = watcher.recent(page.at, 9).unwrap();
    assert_eq!(texts(&recent), ["meanwhile", "later"]);
}

#[tokio::test]
async fn watching_ends_with_its_member_and_with_its_team() {
    let mut world = World::with_members();
    let watch = |world: &mut World, who: &str| {
        let wanted = MailWanted {
            watches: true,
            ..mail_of(who)
        };
        world.mailed(wanted).watcher.unwrap()
    };
    let (mut alice, mut bob) = (watch(&mut world, "alice"), watch(&mut world, "bob"));

    let remove = Wish::RemoveMember(team(), name("bob"), Removal::default());
    world.called(remove).unwrap();

    assert_eq!(bob.past(MessageId(0)).await, Err(Closed));
    world.called(words(to(&["alice"]), "still here")).unwrap();
    assert_eq!(alice.past(MessageId(0)).await, Ok(()));
    let mut page = world.mail(mail_of("bob"));
    world.flush();
    let refused = page.try_recv().unwrap().unwrap_err().refusal;
    assert!(matches!(refused, Refusal::MemberUnknown { .. }));
}

#[test]
fn pages_end_at_their_bounds_and_go_on_where_they_ended() {
    let mut world = World::with_members();
    for text in ["a", "b", "c"] {
        world.called(words(to(&["bob"]), text)).unwrap();
    }

    let two = MailWanted {
        count_max: 2,
        ..mail_of("bob")
    };
    let page = world.mailed(two.clone());
    assert_eq!(texts(&page.letters), ["a", "b"]);
    assert_eq!((page.has_more, page.at), (true, MessageId(2)));
    let page = world.mailed(MailWanted {
        after: page.at,
        ..two
    });
    assert_eq!(texts(&page.letters), ["c"]);
    assert!(!page.has_more);
    // One message always, however long it is.
    let page = world.mailed(MailWanted {
        bytes_max: 1,
        ..mail_of("bob")
    });
    assert_eq!((texts(&page.letters), page.has_more), (vec!["a"], true));
}

#[test]
fn two_who_take_in_one_group_get_different_messages() {
    let mut world = World::with_members();
    for text in ["a", "b", "c"] {
        world.called(words(to(&["bob"]), text)).unwrap();
    }
    let take = || MailWanted {
        acknowledges: true,
        count_max: 2,
        ..mail_of("bob")
    };

    let (mut one, mut other) = (world.mail(take()), world.mail(take()));
    world.flush();

    let one = one.try_recv().unwrap().unwrap();
    let other = other.try_recv().unwrap().unwrap();
    assert_eq!((texts(&one.letters), one.unread), (vec!["a", "b"], 1));
    assert_eq!((texts(&other.letters), other.unread), (vec!["c"], 0));
    assert!(world.restart().mailed(mail_of("bob")).letters.is_empty());
}

#[test]
fn filters_look_at_what_is_kept_in_memory() {
    let mut world = World::with_members();
    world.called(words(to(&["bob"]), "by the lead")).unwrap();
    world
        .call_as("alice", words(to(&["bob"]), "by alice"))
        .unwrap();
    let task = NewTask {
        owner: Some(name("bob")),
        ..plain()
    };
    world.called(create([task])).unwrap();
    let filtered = |world: &mut World, filter| {
        let page = world.mailed(MailWanted {
            filter,
            ..mail_of("bob")
        });
        assert_eq!(page.at, MessageId(3), "all were looked at");
        let from = page.letters.iter().map(|letter| letter.from.to_string());
        from.collect::<Vec<_>>()
    };
    let from = |who: &str| MailFilter {
        from: Some(who.into()),
        ..MailFilter::default()
    };
    let kinds = |kinds: &[MailKind]| MailFilter {
        kinds: kinds.to_vec(),
        ..MailFilter::default()
    };

    assert_eq!(filtered(&mut world, from("alice")), ["alice"]);
    assert_eq!(filtered(&mut world, from("coordinator")), ["coordinator"]);
    assert_eq!(filtered(&mut world, from("mallory")), [""; 0]);
    let assigned = kinds(&[MailKind::TaskAssignment]);
    assert_eq!(filtered(&mut world, assigned), ["coordinator"]);
    let both = kinds(&[MailKind::Text, MailKind::TaskAssignment]);
    assert_eq!(filtered(&mut world, both).len(), 3);
}

#[test]
fn sent_again_with_its_request_id_a_broadcast_answers_everybody_once_more() {
    let mut world = World::with_members();
    let first = world
        .called_as(words(Addressees::Everybody, "all"), Some(request(1, 1)))
        .unwrap();
    for who in ["alice", "bob", "hana"] {
        world.call_as(who, ack_all()).unwrap();
    }

    let again = world
        .called_as(words(Addressees::Everybody, "all"), Some(request(1, 1)))
        .unwrap();

    let told = |told: &Told| match told {
        Told::Sent {
            message,
            correlation,
            receipts,
        } => {
            let names = receipts.iter().map(|(r, _)| r.member.to_string());
            (*message, correlation.to_string(), names.collect::<Vec<_>>())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(told(&first), told(&again));
    let names = ["alice", "bob", "hana"].map(ToOwned::to_owned);
    assert_eq!(told(&again), (MessageId(1), String::new(), names.to_vec()));
    assert!(world.mailed(mail_of("bob")).letters.is_empty());
}

/// M6: of a type whose runtime is not known to be a command, the prompt has it.
#[test]
fn mail_of_who_is_run_goes_with_the_assignment_of_the_same_group() {
    let mut world = World::with_members();
    let mut worker = world.dial(hello("w", 1));
    let task = NewTask {
        owner: Some(name("hana")),
        ..plain()
    };
    world.call(words(to(&["hana"]), "use schema 2"), None);
    world.call(create([task]), None);
    world.flush();

    let assignment = worker.assigned();
    assert!(
        assignment.prompt.contains("use schema 2"),
        "{}",
        assignment.prompt
    );
    assert!(assignment.prompt.ends_with("Your task:\n\nthink"));
    assert!(assignment.mail.is_empty());
    world.started(&worker, assignment.fence).unwrap();
    let page = world.mailed(mail_of("hana"));
    assert!(page.letters.is_empty() && page.unread == 0);
    world.completed(&worker, assignment.fence, "r").unwrap();
    let left: Vec<_> = world
        .engine
        .board()
        .mailbox(TEAM, &name("hana"))
        .into_iter()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn script_has_its_members_mail_beside_it() {
    let mut world = World::with_members();
    let mut hello = hello("w", 1);
    hello.types[0].runtime = "command".into();
    let mut worker = world.dial(hello);
    let task = NewTask {
        owner: Some(name("hana")),
        prompt: "true".into(),
        ..plain()
    };
    world.called(words(to(&["hana"]), "use schema 2")).unwrap();
    world.called(create([task])).unwrap();

    let assignment = worker.assigned();
    assert_eq!(&*assignment.prompt, "true");
    assert_eq!(texts(&assignment.mail), ["use schema 2"]);
    let from = &assignment.mail[0].from;
    assert_eq!(*from, Sender::Member(name(DEFAULT_LEAD), Incarnation(1)));
}

#[test]
fn unreadable_message_is_told_as_such_between_the_others_and_stays_until_it_is_acknowledged() {
    let mut world = World::with_members();
    for text in ["one", "two", "three"] {
        world.called(words(to(&["alice"]), text)).unwrap();
    }
    world.store.damage(Unreadable::Letter(TEAM, MessageId(2)));
    let wanted = MailWanted {
        acknowledges: true,
        ..mail_of("alice")
    };

    let first = world.mailed(wanted.clone());
    let second = world.mailed(wanted.clone());
    world.store.mend();
    let third = world.mailed(wanted);

    let said = texts(&first.letters);
    assert_eq!((said[0], said[2], first.letters.len()), ("one", "three", 3));
    let stand_in = "(This message is damaged and cannot be read: internal failure, reference ";
    assert!(said[1].starts_with(stand_in), "{}", said[1]);
    assert_eq!((second.letters.len(), second.unread), (1, 1));
    assert!(texts(&second.letters)[0].starts_with(stand_in));
    assert_eq!((texts(&third.letters), third.unread), (vec!["two"], 0));
}
