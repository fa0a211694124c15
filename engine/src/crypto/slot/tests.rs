use super::*;

fn repo() -> RepoId {
    RepoId::new([9; 32])
}

fn standard() -> KdfParams {
    KdfParams::standard([3; 16])
}

fn wrapped(credential: &Credential, bundle: &KeyBundle) -> Vec<u8> {
    wrap(&repo(), credential, &mut Derivations::default(), standard(), bundle, b"note").unwrap()
}

fn recovery() -> Credential {
    Credential::Recovery(RecoveryKey::random().unwrap())
}

fn with_file(password: &str, file: &[u8]) -> Credential {
    let password = Zeroizing::new(password.as_bytes().to_vec());
    Credential::PasswordAndFile(password, KeyFile::read(file, "x").unwrap())
}

#[test]
fn the_right_credential_opens_and_no_other() {
    let bundle = KeyBundle::random().unwrap();
    let right = recovery();
    let slot = wrapped(&right, &bundle);
    let open = |credential: &Credential, repo: &RepoId| {
        unwrap(repo, credential, &mut Derivations::default(), &slot, "slot").unwrap()
    };
    assert_eq!(open(&right, &repo()).unwrap().dedup.expose(), bundle.dedup.expose());
    assert!(open(&recovery(), &repo()).is_none());
    assert!(open(&right, &RepoId::new([8; 32])).is_none());
    assert!(open(&Credential::password("x"), &repo()).is_none());
}

#[test]
fn password_and_key_file_open_together_and_neither_alone() {
    let bundle = KeyBundle::random().unwrap();
    let (both, alone) = (with_file("a", b"file"), Credential::password("a"));
    let (of_both, of_one) = (wrapped(&both, &bundle), wrapped(&alone, &bundle));
    // One derivation serves both kinds of slot.
    let mut derivations = Derivations::default();
    let mut opens = |credential: &Credential, slot: &[u8]| {
        unwrap(&repo(), credential, &mut derivations, slot, "slot").unwrap().is_some()
    };
    assert!(opens(&both, &of_both) && opens(&alone, &of_one));
    assert!(!opens(&alone, &of_both) && !opens(&both, &of_one) && !opens(&with_file("a", b"File"), &of_both));
    assert_eq!(derivations.0.len(), 1);
    let other = unwrap(&repo(), &with_file("b", b"file"), &mut Derivations::default(), &of_both, "slot");
    assert!(other.unwrap().is_none());
}

#[test]
fn slots_with_one_salt_cost_one_derivation() {
    let bundle = KeyBundle::random().unwrap();
    let password = Credential::password("a");
    let slot = wrapped(&password, &bundle);
    assert_eq!(describe(&repo(), &bundle, &slot, "s").unwrap().kdf, Some(standard()));
    let mut derivations = Derivations::default();
    for _ in 0..2 {
        assert!(unwrap(&repo(), &password, &mut derivations, &slot, "s").unwrap().is_some());
    }
    assert_eq!(derivations.0.len(), 1);
}

#[test]
fn a_slot_says_its_note_to_holders_of_the_bundle_only() {
    let bundle = KeyBundle::random().unwrap();
    let slot = wrapped(&recovery(), &bundle);
    let told = describe(&repo(), &bundle, &slot, "s").unwrap();
    assert_eq!((told.note.as_slice(), told.kind, told.kdf), (&b"note"[..], Some(SlotKind::Recovery), None));
    assert!(!slot.windows(4).any(|window| window == b"note"));
    let foreign = describe(&repo(), &KeyBundle::random().unwrap(), &slot, "s").unwrap_err();
    assert_eq!(foreign.kind(), Kind::Damaged);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let right = recovery();
    let bundle = KeyBundle::random().unwrap();
    let slot = wrapped(&right, &bundle);
    for bit in 0..slot.len() * 8 {
        let mut bad = slot.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let opened = unwrap(&repo(), &right, &mut Derivations::default(), &bad, "slot");
        assert!(!matches!(opened, Ok(Some(_))), "bit {bit}");
        // Any holder of the bundle notices it too, without the slot's own key.
        assert!(describe(&repo(), &bundle, &bad, "slot").is_err(), "bit {bit}");
    }
}

#[test]
fn cut_short_it_is_refused_at_every_length_and_nothing_may_follow() {
    let bundle = KeyBundle::random().unwrap();
    let right = recovery();
    let slot = wrapped(&right, &bundle);
    let longer = [&slot[..], &[0; 5000]].concat();
    for bad in (0..slot.len()).map(|len| &slot[..len]).chain([&longer[..]]) {
        let opened = unwrap(&repo(), &right, &mut Derivations::default(), bad, "slot");
        assert!(!matches!(opened, Ok(Some(_))));
        assert!(describe(&repo(), &bundle, bad, "slot").is_err());
    }
}
