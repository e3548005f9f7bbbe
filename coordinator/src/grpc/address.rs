//! A member as callers name it: by its name, or by the address that the coordinator hands out.

use board::id::{MemberName, TeamName};
use tonic::Status;

use super::{caller::bad_name, status};

/// `bob`, or `bob@red`: `lead_agent_id` is such an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The member's name.
    pub name: MemberName,
    /// The team that the address says.
    pub team: Option<TeamName>,
}

impl Address {
    /// Reads what stands in a field.
    ///
    /// # Errors
    /// That it is neither a name nor an address.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Status> {
        let (name, team) = match text.split_once('@') {
            Some((name, team)) => (name, Some(team)),
            None => (text, None),
        };
        let bad = |why| bad_name(field, text, why);
        Ok(Self {
            name: MemberName::parse(name).map_err(bad)?,
            team: team.map(TeamName::parse).transpose().map_err(bad)?,
        })
    }

    /// Looks whether it may name a member of this team.
    ///
    /// # Errors
    /// That it is an address in another one.
    pub fn check_team(&self, field: &'static str, team: &TeamName) -> Result<(), Status> {
        match &self.team {
            Some(of) if of != team => {
                Err(status::address_of_other_team(field, &self.name, of, team))
            }
            _ => Ok(()),
        }
    }
}

/// The member of this team that stands in a field.
///
/// # Errors
/// That it is neither a name nor an address, or an address in another team.
pub fn member_of(field: &'static str, text: &str, team: &TeamName) -> Result<MemberName, Status> {
    let address = Address::parse(field, text)?;
    address.check_team(field, team)?;
    Ok(address.name)
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::StatusExt as _;

    use super::*;

    fn team(name: &str) -> TeamName {
        TeamName::parse(name).unwrap()
    }

    #[test]
    fn member_is_named_by_its_name_or_by_its_address_in_the_team() {
        for text in ["team-lead", "team-lead@red"] {
            let member = member_of("owner", text, &team("red")).unwrap();
            assert_eq!(member.as_str(), "team-lead");
        }
    }

    #[test]
    fn address_of_another_team_is_refused_with_both_teams() {
        let refused = member_of("owner", "bob@blue", &team("red")).unwrap_err();

        assert_eq!(refused.code(), Code::InvalidArgument);
        let info = refused.get_details_error_info().unwrap();
        assert_eq!(info.reason, "ADDRESS_OF_OTHER_TEAM");
        for (fact, value) in [
            ("field", "owner"),
            ("member", "bob"),
            ("member_team", "blue"),
            ("team", "red"),
        ] {
            assert_eq!(info.metadata[fact], value);
        }
    }

    #[test]
    fn what_is_neither_a_name_nor_an_address_is_refused() {
        for text in ["", "@", "bob@", "@red", "bob@red@red", "bob@a b", "a b@red"] {
            let refused = member_of("owner", text, &team("red")).unwrap_err();
            let info = refused.get_details_error_info().unwrap();
            assert_eq!(info.reason, "NAME_INVALID", "{text:?}");
        }
    }
}
