//! Whose a job is: of whoever knows the token that it came with, or else of the address that it came from.
//!
//! A list shows only what is the asker's. A job that came with a token is seen and stopped with that token alone; one
//! that came without is everybody's who knows its id, which nobody can guess and only its submitter is told.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, header};
use p2pnet_shared::{
    id::{Hash, Holder, JobId, OwnerId},
    refusal::{Code, Refusal},
};

use super::source::{Source, Trust};

/// Lengths of a token.
pub const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 16..=512;
/// The first bit of an owner that is known by a token; of one known by an address it is not set.
const BY_TOKEN: u8 = 0x80;

/// How owners are told apart.
pub struct Owners {
    /// Kept in the data folder: without it nobody can find out whose address an owner is.
    salt: [u8; 32],
    admin: Option<OwnerId>,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Whom new jobs belong to.
    pub owner: OwnerId,
    /// Whose jobs are listed and told of: the same owner's; of one who is nobody and has no token, an owner's who has none.
    pub listed: OwnerId,
    /// Where the asker is, whatever token came along: tokens cost nothing, so shares are taken by network and address first.
    pub source: Source,
    /// Whether it is the operator, who sees and stops everything.
    pub is_admin: bool,
}

impl Owners {
    /// Owners of a relay whose secret is `secret`, and whose operator has the token `admin`.
    pub fn new(secret: [u8; 32], admin: Option<&str>) -> Self {
        let salt = Hash::of(&[b"p2pnet: owners of jobs".as_slice(), &secret].concat()).0;
        Self { salt, admin: admin.map(of_token) }
    }

    /// Who sends this request.
    pub fn asker(&self, trust: &Trust, peer: SocketAddr, headers: &HeaderMap) -> Result<Asker, Refusal> {
        let source = Source::of(trust.client(peer, headers));
        Ok(match token(headers)? {
            Some(token) => {
                let owner = of_token(token);
                Asker { owner, listed: owner, source, is_admin: self.admin == Some(owner) }
            }
            None => {
                let owner = self.of_household(source);
                let listed = if source.is_nobody() { self.named("listed ", source.address) } else { owner };
                Asker { owner, listed, source, is_admin: false }
            }
        })
    }

    /// Whom what an asker submits counts for.
    pub fn holder(&self, asker: Asker) -> Holder {
        let Asker { owner, listed: _, source, is_admin: _ } = asker;
        Holder {
            region: self.named("region ", source.groups().wide().first()),
            network: self.named("network ", source.network),
            household: self.of_household(source),
            owner,
        }
    }

    /// A job's name for those who may know that there is one, but not its id, with which they could stop it.
    pub fn cover(&self, job: JobId) -> JobId {
        let mut name = [0; 16];
        name.copy_from_slice(&Hash::of(&[b"job".as_slice(), &self.salt, &job.0].concat()).0[..16]);
        JobId(name)
    }

    fn of_household(&self, source: Source) -> OwnerId {
        self.named("", source.address)
    }

    fn named(&self, what: &str, address: IpAddr) -> OwnerId {
        let text = format!("{what}{address}");
        let mut owner = OwnerId::of(&[self.salt.as_slice(), text.as_bytes()].concat());
        owner.0[0] &= !BY_TOKEN;
        owner
    }
}

impl Asker {
    /// Whether a job of `owner` is in this asker's list.
    pub fn lists(self, owner: OwnerId) -> bool {
        self.is_admin || self.listed == owner
    }

    /// Whether this asker may see and stop a job of `owner` whose id it knows.
    pub fn may_open(self, owner: OwnerId) -> bool {
        self.lists(owner) || owner.0[0] & BY_TOKEN == 0
    }

    /// Whether this asker may stop a job of `owner` whose id it knows: a nobody only what is in its list.
    ///
    /// # Errors
    /// What to do instead.
    pub fn check_stop(self, owner: OwnerId) -> Result<(), Refusal> {
        if self.lists(owner) || (self.may_open(owner) && !self.source.is_nobody()) {
            return Ok(());
        }
        Err(unknown_asker("a job is stopped only with the token that it was sent with"))
    }

    /// Whether this asker's `Idempotency-Key` can be kept apart from others': all nobodies without a token are one owner.
    ///
    /// # Errors
    /// What to do instead.
    pub fn check_key(self, key: Option<&String>) -> Result<(), Refusal> {
        if key.is_none() || self.lists(self.owner) {
            return Ok(());
        }
        Err(unknown_asker("an Idempotency-Key is taken only with a token"))
    }
}

/// The refusal of what a nobody may not do.
fn unknown_asker(therefore: &str) -> Refusal {
    Refusal::new(
        Code::InvalidToken,
        format!("the headers of the proxies before this relay do not tell who asks, so {therefore}"),
        "send jobs, and ask for them, with Authorization: Bearer TOKEN; or let the proxy write X-Forwarded-For and take \
         away what clients write into it and into Forwarded",
    )
}

/// Whether a text can be a token.
pub fn is_token(text: &str) -> bool {
    TOKEN_BYTES.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The owner that a token names. Its hash, so that comparing takes as long whatever was guessed right.
fn of_token(token: &str) -> OwnerId {
    let mut owner = OwnerId::of(&[b"token ".as_slice(), token.as_bytes()].concat());
    owner.0[0] |= BY_TOKEN;
    owner
}

/// The bearer token of a request. Other schemes are a proxy's own business.
fn token(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::new(
            Code::InvalidToken,
            "there is more than one Authorization header",
            "send one: with the token, or with a proxy's login",
        ));
    }
    let bytes = value.as_bytes();
    let Some((scheme, rest)) = bytes.split_at_checked(6) else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case(b"bearer") || rest.first().is_some_and(|byte| *byte != b' ') {
        return Ok(None);
    }
    match std::str::from_utf8(rest).map(str::trim).ok().filter(|token| is_token(token)) {
        Some(token) => Ok(Some(token)),
        None => Err(Refusal::new(
            Code::InvalidToken,
            format!(
                "a token has {} to {} visible ASCII characters without spaces",
                TOKEN_BYTES.start(),
                TOKEN_BYTES.end()
            ),
            "choose a long random one, for example with: openssl rand -hex 16",
        )),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ask(owners: &Owners, peer: &str, authorization: Option<&str>) -> Result<Asker, Code> {
        let headers = authorization.map(|text| (header::AUTHORIZATION, text.parse().unwrap())).into_iter().collect();
        owners.asker(&Trust::default(), SocketAddr::new(peer.parse().unwrap(), 1), &headers).map_err(|error| error.code)
    }

    #[test]
    fn a_token_is_the_owner_wherever_it_comes_from() {
        let owners = Owners::new([7; 32], Some("the-operators-own-token"));
        let one = ask(&owners, "1.1.1.1", Some("Bearer 0123456789abcdef")).unwrap();
        let elsewhere = ask(&owners, "2.2.2.2", Some("bearer  0123456789abcdef")).unwrap();
        assert!(elsewhere.owner == one.owner && elsewhere.source != one.source);
        let other = ask(&owners, "1.1.1.1", Some("Bearer 0123456789abcdeg")).unwrap();
        let nobody = ask(&owners, "1.1.1.1", None).unwrap();
        assert!(other.owner != one.owner && nobody.owner != one.owner);
        let [one_holder, other_holder, nobody_holder] = [one, other, nobody].map(|asker| owners.holder(asker));
        let household = one_holder.household;
        assert!(other_holder.household == household && other_holder.owner != one_holder.owner);
        assert_eq!(nobody_holder, Holder { owner: household, ..one_holder });
        assert!(one.may_open(one.owner) && !other.may_open(one.owner) && !nobody.may_open(one.owner));
        assert!(one.may_open(nobody.owner) && !one.lists(nobody.owner));
        let admin = ask(&owners, "3.3.3.3", Some("Bearer the-operators-own-token")).unwrap();
        assert!(admin.may_open(one.owner) && admin.lists(one.owner) && admin.lists(nobody.owner) && !one.is_admin);
    }

    #[test]
    fn without_a_token_the_household_is_the_owner_and_the_salt_hides_it() {
        let owners = Owners::new([7; 32], None);
        let here = ask(&owners, "2001:db8:1:2::3", None).unwrap();
        assert_eq!(ask(&owners, "2001:db8:1:2::4", None).unwrap(), here);
        assert_ne!(ask(&owners, "2001:db8:1:3::4", None).unwrap(), here);
        assert_ne!(ask(&Owners::new([8; 32], None), "2001:db8:1:2::3", None).unwrap(), here);
        assert!(here.may_open(OwnerId::LOCAL) && !here.lists(OwnerId::LOCAL), "jobs of before there were owners");
        let job = JobId([3; 16]);
        assert!(owners.cover(job) != job && owners.cover(job) == owners.cover(job));
    }

    #[test]
    fn addresses_of_one_network_count_together_and_each_apart() {
        let owners = Owners::new([7; 32], None);
        let holder = |address: &str| owners.holder(ask(&owners, address, None).unwrap());
        for [here, near, far] in
            [["2001:db8:1:2::3", "2001:db8:1:3::4", "2001:db8:2:2::3"], ["203.0.113.7", "203.0.113.8", "203.0.114.7"]]
        {
            let [here, near, far] = [here, near, far].map(holder);
            assert!(here.network == near.network && here.household != near.household);
            assert!(here.network != far.network && here.network != here.household);
            assert!(here.region == far.region && here.region != here.network);
        }
        for [here, elsewhere] in [["2001:db8:1:2::3", "2001:db9:1:2::3"], ["203.0.113.7", "203.1.113.7"]] {
            assert_ne!(holder(here).region, holder(elsewhere).region);
        }
        assert_ne!(holder("127.0.0.1").region, holder("127.0.0.2").region, "this machine's stand for themselves");
    }

    #[test]
    fn a_nobody_lists_nothing_and_stops_nothing_without_its_token() {
        let owners = Owners::new([7; 32], None);
        let trust = Trust::read(&["127.0.0.1".into()]).unwrap();
        let ask = |forwarded: Option<&str>, token: Option<&str>| {
            let forwarded = forwarded.map(|text| (header::FORWARDED, text.parse().unwrap()));
            let token = token.map(|text| (header::AUTHORIZATION, text.parse().unwrap()));
            let headers = forwarded.into_iter().chain(token).collect();
            owners.asker(&trust, SocketAddr::new([127, 0, 0, 1].into(), 1), &headers).unwrap()
        };
        let (operator, client) = (ask(None, None), ask(Some("for=9.9.9.9"), None));
        let nobody = ask(Some("for=unknown"), None);
        assert_eq!(owners.holder(nobody).household, nobody.owner);
        assert!(![operator.owner, client.owner].contains(&nobody.owner));
        for owner in [operator.owner, client.owner, nobody.owner] {
            assert!(!nobody.lists(owner) && nobody.may_open(owner), "whoever knows an id may read");
            assert_eq!(nobody.check_stop(owner).unwrap_err().code, Code::InvalidToken);
            assert!(client.check_stop(owner).is_ok() && operator.check_stop(owner).is_ok());
        }
        assert!(nobody.check_key(None).is_ok() && nobody.check_key(Some(&"k".into())).is_err());
        assert!(client.check_key(Some(&"k".into())).is_ok());
        let with_token = ask(Some("for=unknown"), Some("Bearer 0123456789abcdef"));
        assert!(with_token.lists(with_token.owner) && with_token.check_stop(with_token.owner).is_ok());
        assert!(with_token.check_key(Some(&"k".into())).is_ok() && with_token.check_stop(operator.owner).is_err());
    }

    #[test]
    fn two_tokens_are_refused_since_nobody_can_tell_which_is_meant() {
        let owners = Owners::new([7; 32], None);
        for pair in
            [["Bearer 0123456789abcdef", "Bearer 0123456789abcdeg"], ["Basic dXNlcjpwYXNz", "Bearer 0123456789abcdef"]]
        {
            let headers = pair.map(|text| (header::AUTHORIZATION, text.parse().unwrap()));
            let mut both = HeaderMap::new();
            for (name, value) in headers {
                both.append(name, value);
            }
            let asked = owners.asker(&Trust::default(), SocketAddr::new([1, 1, 1, 1].into(), 1), &both);
            assert_eq!(asked.map_err(|error| error.code), Err(Code::InvalidToken), "{pair:?}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_and_a_proxys_login_is_none_of_ours() {
        let owners = Owners::new([7; 32], None);
        for bad in ["Bearer short", "Bearer", "Bearer 0123456789abcde f", "bearer \u{e9}0123456789abcdef"] {
            assert_eq!(ask(&owners, "1.1.1.1", Some(bad)), Err(Code::InvalidToken), "{bad}");
        }
        let plain = ask(&owners, "1.1.1.1", None);
        for other in ["Basic dXNlcjpwYXNz", "x", "BearerToken 0123456789abcdef", ""] {
            assert_eq!(ask(&owners, "1.1.1.1", Some(other)), plain, "{other}");
        }
    }
}
