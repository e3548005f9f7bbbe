//! Teams and who is in them; which agent types are offered, or were of late.

use std::{collections::BTreeSet, time::Duration};

use super::check;
use crate::{
    board::has_room_for_teams,
    command::{Answer, CreateTeam, NewMember},
    decision::Decision,
    draft::Draft,
    event::{Actor, Happening},
    id::{
        AgentTypeName, Incarnation, MemberName, MessageId, Revision, TaskId, TeamUid, WorkerName,
        check_new,
    },
    limits,
    record::OfferedType,
    refusal::{Obstacle, Refusal, Staleness},
    team::{Member, MemberKind, Plan, Team},
};

/// How much later a type must be offered again for that to be written down.
const LAST_SEEN_GRAIN: Duration = Duration::from_secs(3_600);

pub(super) fn create_team(draft: &mut Draft<'_>, wish: &CreateTeam) -> Result<Answer, Obstacle> {
    let last = draft.team_uid(&wish.name);
    if last.is_ok_and(|uid| draft.team(uid).is_open()) {
        return Err(Refusal::TeamExists {
            team: wish.name.clone(),
        }
        .into());
    }
    check::len("description", &wish.description, limits::NOTE_LEN_MAX)?;
    check::len("agent_type", &wish.lead_role, limits::NOTE_LEN_MAX)?;
    check::count(
        "members",
        wish.members.len(),
        limits::MEMBERS_PER_TEAM_MAX - 1,
    )?;
    check::verification_threshold(wish.verification_threshold)?;
    check::share(wish.weight.unwrap_or(1))?;
    check::running_max("max_running", wish.max_running)?;
    if !has_room_for_teams(draft.board) {
        return Err(Refusal::Full {
            what: "teams",
            max: limits::TEAMS_MAX,
        }
        .into());
    }

    let meta = draft.meta_mut();
    meta.last_team = meta.last_team.next();
    let uid = meta.last_team;
    let now = draft.now;
    draft.put_team(Team {
        uid,
        name: wish.name.clone(),
        description: wish.description.clone(),
        lead: wish.lead.clone(),
        created_at: now,
        revision: Revision(0),
        last_task: TaskId(0),
        expired_through: TaskId(0),
        last_message: MessageId(0),
        closed_since_verification: 0,
        verification_threshold: wish
            .verification_threshold
            .unwrap_or(limits::VERIFICATION_THRESHOLD),
        idle_notices: wish.idle_notices,
        weight: wish.weight.unwrap_or(1),
        max_running: wish.max_running,
        dissolved: None,
    });
    let actor = Actor::Member(wish.lead.clone());
    draft.happened(uid, &actor, None, Happening::TeamCreated);
    let lead = NewMember {
        name: wish.lead.clone(),
        kind: MemberKind::Lead,
        role: wish.lead_role.clone(),
        description: "".into(),
        instructions: "".into(),
        agent_type: None,
        model: "".into(),
        plan_required: false,
    };
    join(draft, uid, &actor, &lead, "lead")?;
    for member in &wish.members {
        check::new_member(member, &check::MEMBERS_OF_A_TEAM)?;
        join(draft, uid, &actor, member, "members.name")?;
    }
    Ok(Answer::Team(uid))
}

pub(super) fn join(
    draft: &mut Draft<'_>,
    team: TeamUid,
    actor: &Actor,
    new: &NewMember,
    field: &'static str,
) -> Result<(), Refusal> {
    check_new(new.name.as_str()).map_err(|why| Refusal::BadName {
        field,
        text: new.name.to_string(),
        why,
    })?;
    let before = draft.ever_member(team, &new.name);
    // What the last one of the name leaves behind must not become this one's.
    let is_leaving = || draft.board.stranded.contains(&(team, new.name.clone()));
    if before.is_some_and(|member| member.is_present() || is_leaving()) {
        return Err(Refusal::MemberExists {
            member: new.name.clone(),
        });
    }
    let incarnation = before.map_or(Incarnation(1), |member| member.incarnation.next());
    let joined_at = draft.now;
    draft.put_member(
        team,
        Member {
            name: new.name.clone(),
            incarnation,
            kind: new.kind,
            role: new.role.clone(),
            description: new.description.clone(),
            instructions: new.instructions.clone(),
            agent_type: new.agent_type.clone(),
            model: new.model.clone(),
            joined_at,
            left_at: None,
            plan: match new.plan_required {
                true => Plan::Required,
                false => Plan::NotRequired,
            },
            shutdown: None,
            questions: Vec::new(),
            handed: MessageId(0),
        },
    );
    let member = new.name.clone();
    draft.happened(team, actor, None, Happening::MemberJoined { member });
    Ok(())
}

/// Makes a worker a member of a team. It stays one who is one already; a name that somebody else
/// has is left to them.
pub(super) fn join_worker(
    mut draft: Draft<'_>,
    team: TeamUid,
    worker: &WorkerName,
) -> Result<Decision, Obstacle> {
    check_team(&draft, team)?;
    admit_worker(&mut draft, team, worker)?;
    Ok(draft.finish(Answer::Done, None))
}

/// Refuses what the fleet brings for a team that is not there.
pub(super) fn check_team(draft: &Draft<'_>, team: TeamUid) -> Result<(), Refusal> {
    match draft.board.team(team) {
        Some(team) if team.is_open() => Ok(()),
        _ => Err(Refusal::Stale {
            why: Staleness::Team,
        }),
    }
}

pub(super) fn admit_worker(
    draft: &mut Draft<'_>,
    team: TeamUid,
    worker: &WorkerName,
) -> Result<(), Refusal> {
    let name = MemberName::from(worker);
    let is_there = draft
        .ever_member(team, &name)
        .is_some_and(Member::is_present);
    // One that has a reserved name from before may run what it is given, and is nobody beside.
    if is_there || check_new(name.as_str()).is_err() {
        return Ok(());
    }
    let actor = Actor::Worker(worker.clone());
    let member = NewMember {
        name,
        kind: MemberKind::Worker,
        role: "worker".into(),
        description: "".into(),
        instructions: "".into(),
        agent_type: None,
        model: "".into(),
        plan_required: false,
    };
    join(draft, team, &actor, &member, "name")
}

/// Notes which types are offered, where that says something new.
pub(super) fn offer_types(
    mut draft: Draft<'_>,
    types: &[OfferedType],
) -> Result<Decision, Obstacle> {
    let mut count = draft.board.offered().count();
    for offered in types {
        let known = draft.board.offered_type(&offered.name);
        let is_news = known.is_none_or(|known| {
            let fresh = match (known.last_seen, offered.last_seen) {
                (Some(before), Some(now)) => now.since(before) < LAST_SEEN_GRAIN,
                (None, Some(_)) => false,
                (_, None) => true,
            };
            let is_another = known.digest != offered.digest
                || known.hiring_depth != offered.hiring_depth
                || known.tasks_max != offered.tasks_max
                || known.may_create_teams != offered.may_create_teams
                || known.prompt_is_script != offered.prompt_is_script
                || known.is_interactive != offered.is_interactive;
            !fresh || (offered.last_seen.is_some() && is_another)
        });
        if !is_news {
            continue;
        }
        count += usize::from(known.is_none());
        if count > limits::OFFERED_TYPES_MAX {
            return Err(Refusal::Full {
                what: "agent types",
                max: limits::OFFERED_TYPES_MAX,
            }
            .into());
        }
        draft.put_offered(offered.clone());
    }
    Ok(draft.finish(Answer::Done, None))
}

/// Forgets which types nobody has offered for [`limits::OFFERED_TYPES_KEPT`], and those that were
/// only expected and are no more (D2).
pub(super) fn forget_types(mut draft: Draft<'_>, expected: &BTreeSet<AgentTypeName>) -> Decision {
    let now = draft.now;
    let is_over = |offered: &&OfferedType| {
        let seen = offered.last_seen;
        !expected.contains(&offered.name)
            && seen.is_none_or(|seen| seen + limits::OFFERED_TYPES_KEPT <= now)
    };
    for offered in draft.board.offered().filter(is_over) {
        draft.forget_offered(offered.name.clone());
    }
    draft.finish(Answer::Done, None)
}
