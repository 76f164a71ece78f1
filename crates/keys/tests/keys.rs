//! Keys over their whole life, with a clock that the tests set.

use picnic_keys::{Error, Keys, Limits, NewKey, Refusal, Scope, Timestamp, Usage};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Seconds after some morning.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("inner").join("keys.sqlite")
    }

    fn open(&self) -> Keys {
        Keys::open(&self.file()).unwrap()
    }
}

#[test]
fn a_key_outlasts_the_process_and_its_secret_is_nowhere() {
    let place = Place::new();
    let (key, secret) = place.open().create(&NewKey::named("laptop"), at(0)).unwrap();
    let keys = place.open();
    assert_eq!(keys.list().unwrap(), std::slice::from_ref(&key));
    assert!(secret.reveal().ends_with(&key.ending));
    let grant = keys.authorize(secret.reveal(), Scope::Inference, at(1)).unwrap();
    assert_eq!(grant.name(), "laptop");
    // A key of the same number in another file is somebody else.
    let elsewhere = Place::new();
    let (same, other) = elsewhere.open().create(&NewKey::named("laptop"), at(0)).unwrap();
    let other = elsewhere.open().authorize(other.reveal(), Scope::Inference, at(1)).unwrap();
    assert!(same.id == key.id && other.tenant() != grant.tenant());
    for file in fs::read_dir(place.file().parent().unwrap()).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let secret = &secret.reveal().as_bytes()[..20];
        assert!(!bytes.windows(20).any(|window| window == secret), "{path:?} holds the secret");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{path:?}");
        }
    }
}

#[test]
fn who_may_not_pass_is_told_why() {
    let place = Place::new();
    let keys = place.open();
    let refused = |secret: &str, scope, now| keys.authorize(secret, scope, now).unwrap_err();
    let mut new = NewKey { expires: Some(at(100)), models: Some(vec!["nano".into()]), ..NewKey::named("a") };
    let (_, secret) = keys.create(&new, at(0)).unwrap();
    let secret = secret.reveal();
    assert!(matches!(refused("pk-none", Scope::Read, at(1)), Refusal::Unknown));
    let other = format!("pk-{}", "0".repeat(43));
    assert!(matches!(refused(&other, Scope::Read, at(1)), Refusal::Unknown));
    assert!(matches!(refused(secret, Scope::Admin, at(1)), Refusal::OutOfScope(Scope::Admin)));
    let grant = keys.authorize(secret, Scope::Read, at(99)).unwrap();
    grant.check_model("nano").unwrap();
    assert!(matches!(grant.check_model("large").unwrap_err(), Refusal::Model(name) if name == "large"));
    assert!(matches!(refused(secret, Scope::Read, at(100)), Refusal::Expired(end) if end == at(100)));

    // A name is free again when its key is revoked, and means the new one from then on.
    assert!(matches!(keys.create(&new, at(0)).unwrap_err(), Error::NameTaken(name) if name == "a"));
    assert_eq!(keys.revoke("a", at(3)).unwrap().revoked, Some(at(3)));
    assert!(matches!(refused(secret, Scope::Read, at(4)), Refusal::Revoked));
    assert!(matches!(keys.revoke("a", at(4)).unwrap_err(), Error::NoSuchKey(_)));
    assert!(matches!(keys.revoke("17", at(4)).unwrap_err(), Error::NoSuchKey(_)));
    new.expires = None;
    let (second, secret) = keys.create(&new, at(5)).unwrap();
    assert_eq!(keys.usage("a").unwrap().0.id, second.id);
    keys.revoke(&second.id.to_string(), at(6)).unwrap();
    assert!(matches!(refused(secret.reveal(), Scope::Read, at(7)), Refusal::Revoked));
    assert_eq!(keys.list().unwrap().len(), 2);
}

#[test]
fn limits_hold_and_usage_is_counted_by_day() {
    let place = Place::new();
    let keys = place.open();
    let limits = Limits { requests_per_minute: Some(3), tokens_per_minute: None, tokens: Some(50) };
    let (_, secret) = keys.create(&NewKey { limits, ..NewKey::named("a") }, at(0)).unwrap();
    let ask = |now| keys.authorize(secret.reveal(), Scope::Inference, now);
    for _ in 0..3 {
        let grant = ask(at(0)).unwrap();
        keys.record(&grant, Usage::of_request(4, 6), at(0)).unwrap();
    }
    let Refusal::RateLimited { what: "requests", retry_after } = ask(at(0)).unwrap_err() else { panic!() };
    assert_eq!(retry_after, Duration::from_secs(20));
    // Asking for what there is costs no place.
    keys.authorize(secret.reveal(), Scope::Read, at(0)).unwrap();
    let next_day = 86_400;
    let grant = ask(at(next_day)).unwrap();
    keys.record(&grant, Usage::of_request(19, 0), at(next_day)).unwrap();
    // One token is left, so one more passes, however long it becomes.
    let grant = ask(at(next_day)).unwrap();
    keys.record(&grant, Usage::of_request(0, 100), at(next_day)).unwrap();
    assert!(matches!(ask(at(next_day)).unwrap_err(), Refusal::UsedUp(50)));
    keys.authorize(secret.reveal(), Scope::Read, at(next_day)).unwrap();

    let (key, days) = keys.usage("a").unwrap();
    assert_eq!(key.used, Usage { requests: 5, prompt_tokens: 31, completion_tokens: 118 });
    assert_eq!(key.last_used, Some(at(next_day)));
    let days: Vec<_> = days.iter().map(|day| (day.day.to_string(), day.used.requests)).collect();
    assert_eq!(days, [("2027-01-16".to_owned(), 2), ("2027-01-15".to_owned(), 3)]);
}

#[test]
fn tokens_a_minute_are_waited_for() {
    let place = Place::new();
    let keys = place.open();
    let limits = Limits { tokens_per_minute: Some(60), ..Limits::default() };
    let (_, secret) = keys.create(&NewKey { limits, ..NewKey::named("a") }, at(0)).unwrap();
    let ask = |now| keys.authorize(secret.reveal(), Scope::Inference, now);
    let grant = ask(at(0)).unwrap();
    keys.record(&grant, Usage::of_request(30, 40), at(0)).unwrap();
    let Refusal::RateLimited { what: "tokens", retry_after } = ask(at(0)).unwrap_err() else { panic!() };
    assert_eq!(retry_after, Duration::from_secs(11));
    ask(at(11)).unwrap();
}

#[test]
fn many_threads_lose_nothing() {
    let place = Place::new();
    let keys = place.open();
    let (_, secret) = keys.create(&NewKey::named("a"), at(0)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let grant = keys.authorize(secret.reveal(), Scope::Inference, at(0)).unwrap();
                    keys.record(&grant, Usage::of_request(2, 3), at(0)).unwrap();
                }
            });
        }
    });
    let expected = Usage { requests: 160, prompt_tokens: 320, completion_tokens: 480 };
    assert_eq!(keys.usage("a").unwrap().0.used, expected);
    // What was handed over without waiting is written before the file is let go.
    let grant = keys.authorize(secret.reveal(), Scope::Inference, at(0)).unwrap();
    keys.record_then(&grant, Usage::of_request(1, 1), at(0), |outcome| outcome.unwrap());
    drop(keys);
    assert_eq!(place.open().usage("a").unwrap().0.used.requests, 161);
}

#[test]
fn files_that_cannot_be_used_say_what_to_do() {
    let place = Place::new();
    let file = place.file();
    let keys = place.open();
    let names: Vec<String> = (0..200).map(|n| format!("key of reader {n}")).collect();
    names.iter().for_each(|name| drop(keys.create(&NewKey::named(name), at(0)).unwrap()));
    drop(keys);
    let whole = fs::read(&file).unwrap();
    let said = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        Keys::open(&file).err().map(|error| error.to_string())
    };
    assert_eq!(said(&whole), None);
    // Text, a page overwritten, and the end cut off.
    let mut torn = whole.clone();
    torn[8192..12288].fill(0x5a);
    for bytes in
        [&b"these are my keys, and this is no database, however long it may be".repeat(20)[..], &torn, &whole[..20_480]]
    {
        let text = said(bytes).expect("it must be refused");
        assert!(text.contains("damaged") && text.contains("put a copy of it back"), "{text}");
        assert!(text.contains("keys.sqlite") && text.lines().count() == 1, "{text}");
    }
    let mut foreign = whole.clone();
    foreign[68..72].copy_from_slice(b"Fire");
    assert!(said(&foreign).unwrap().contains("another program"));
    let mut newer = whole.clone();
    newer[60..64].copy_from_slice(&77u32.to_be_bytes());
    let text = said(&newer).unwrap();
    assert!(text.contains("later version") && text.contains("77"), "{text}");
    let text = Keys::open(&file.join("inside")).err().unwrap().to_string();
    assert!(text.contains("--file"), "{text}");
    // An empty file is one that nobody has written to yet.
    assert_eq!(said(b""), None);
}
