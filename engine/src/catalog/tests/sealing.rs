//! The seal of a closed catalog: when it comes, when it goes, and that nobody is alarmed without cause.

use super::*;

/// True if there is a seal, and not the mark of somebody who writes.
fn has_seal(home: &Path) -> bool {
    seal::Seal::new(home, "catalog.sqlite", &Secret::new(KEY)).is_there()
}

/// Large rows, so that the database has many parts.
fn fill_many(catalog: &Catalog) {
    fill(catalog);
    for number in 0..150 {
        catalog.put_manifest(&SnapshotId::new([number; 32]), &[number; 9000]).unwrap();
    }
}

/// What tells whether a file was written again.
fn written(path: &Path) -> (u64, i64, i64, Vec<u8>) {
    let metadata = fs::metadata(path).unwrap();
    (metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), fs::read(path).unwrap())
}

/// Something of every call that reads.
fn read_all(catalog: &Catalog) {
    assert_eq!(catalog.memory_open(&SOURCE).unwrap(), Some(snapshot(4)));
    assert!(catalog.memory_row(&SOURCE, &path("/folder/3")).unwrap().is_some());
    assert_eq!(catalog.copies(BlobKind::Data, &blob_id(0)).unwrap().len(), 1);
    assert!(catalog.contains(BlobKind::Data, &blob_id(0)).unwrap());
    assert!(catalog.manifest(&snapshot(1)).unwrap().is_some());
    catalog.forget_manifests_except(&(0..5).map(snapshot).collect()).unwrap();
    catalog.totals(PackClass::ALL[0]).unwrap();
    catalog.known_indexes().unwrap();
    catalog.writer().unwrap();
    catalog.note_use("/somewhere").unwrap();
}

#[test]
fn who_only_reads_leaves_database_and_seal_as_they_are() {
    let (_dir, home) = folder();
    fill(&open(&home));
    let files = ["catalog.sqlite", "catalog.seal"].map(|name| home.join(name));
    let before = files.each_ref().map(|file| written(file));
    for _ in 0..3 {
        let (first, second) = (open(&home), open(&home));
        read_all(&first);
        read_all(&second);
        assert!(has_seal(&home));
        drop(first);
        read_all(&second);
    }
    assert!(files.each_ref().map(|file| written(file)) == before);
}

#[test]
fn every_call_that_writes_takes_the_seal_away_first() {
    type Write = fn(&Catalog) -> Result<()>;
    let writes: [Write; 9] = [
        |catalog| catalog.add_index(&IndexId::new([8; 32]), &[pack(7, vec![entry(500, 0)])]).map(|_| ()),
        |catalog| catalog.add_packs(&[pack(7, vec![entry(500, 0)])]).map(|_| ()),
        |catalog| catalog.drop_packs(&[PackId::new([1; 32])]),
        Catalog::clear_blobs,
        |catalog| catalog.put_manifest(&snapshot(9), b"nine"),
        |catalog| catalog.forget_manifests_except(&HashSet::new()),
        |catalog| catalog.memory_commit(&SOURCE, Some(snapshot(4)), snapshot(5), vec![], vec![]).map(|_| ()),
        |catalog| catalog.memory_clear(&SOURCE),
        |catalog| catalog.set_writer(&WriterId::new([4; 16]), 1, None),
    ];
    for (number, write) in writes.iter().enumerate() {
        let (_dir, home) = folder();
        fill(&open(&home));
        let before = written(&home.join("catalog.seal"));
        let catalog = open(&home);
        assert!(has_seal(&home));
        write(&catalog).unwrap();
        assert!(!has_seal(&home), "write {number}");
        catalog.set_prune_epoch(7).unwrap();
        drop(catalog);
        assert_ne!(written(&home.join("catalog.seal")).3, before.3);
        assert_eq!(open(&home).prune_epoch().unwrap(), 7);
    }
    // A call that forgets to would fail: until then, SQLite refuses.
    let (_dir, home) = folder();
    let catalog = open(&home);
    let e = catalog.connection().execute("DELETE FROM blobs", ()).unwrap_err();
    assert_eq!(e.sqlite_error_code(), Some(rusqlite::ErrorCode::ReadOnly));
}

#[test]
fn the_last_one_seals_whoever_wrote() {
    for reader_is_last in [false, true] {
        let (_dir, home) = folder();
        let (writer, reader) = (open(&home), open(&home));
        fill(&writer);
        let (first, last) = if reader_is_last { (writer, reader) } else { (reader, writer) };
        drop(first);
        assert!(!has_seal(&home));
        drop(last);
        assert!(has_seal(&home));
        read_all(&open(&home));
    }
}

#[test]
fn what_is_not_trusted_is_not_sealed_and_a_seal_that_cannot_be_broken_forbids_to_write() {
    let (_dir, home) = folder();
    let catalog = open(&home);
    fill(&catalog);
    catalog.distrust();
    drop(catalog);
    assert!(!has_seal(&home));
    drop(open(&home));
    assert!(has_seal(&home));
    let catalog = open(&home);
    // A folder that is not empty stands for whatever keeps it from being deleted.
    fs::remove_file(home.join("catalog.seal")).unwrap();
    fs::create_dir_all(home.join("catalog.seal/full")).unwrap();
    for _ in 0..2 {
        assert_eq!(catalog.set_prune_epoch(9).unwrap_err().kind(), Kind::Catalog);
    }
    assert_eq!(catalog.prune_epoch().unwrap(), 3);
    drop(catalog);
    let (catalog, why) = Catalog::open(Some(&home), &REPO, KEY).unwrap();
    assert!(catalog.is_in_memory() && why.unwrap().contains("catalog.seal cannot be deleted"));
}

#[test]
fn a_seal_that_says_nothing_costs_only_a_look_at_all_rows() {
    let (_dir, home) = folder();
    fill(&open(&home));
    let seal = home.join("catalog.seal");
    let whole = fs::read(&seal).unwrap();
    for content in [&b""[..], &whole[..40], &[0; 72], b"foreign"] {
        fs::write(&seal, content).unwrap();
        read_all(&open(&home));
        assert!(fs::read(&seal).unwrap() == whole, "it is made again, and is the same");
    }
}

#[test]
fn damage_that_was_done_meanwhile_does_not_become_what_is_sealed() {
    let (_dir, home) = folder();
    fill_many(&open(&home));
    let database = home.join("catalog.sqlite");
    let pristine = fs::read(&database).unwrap();
    let parts = pristine.len() / 65536;
    assert!(parts > 15, "{parts} parts");
    for part in 1..parts {
        for is_damaged in [false, true] {
            fs::write(&database, &pristine).unwrap();
            let _may_be_gone = fs::remove_file(home.join("catalog.seal"));
            drop(open(&home));
            let catalog = open(&home);
            let mut bytes = fs::read(&database).unwrap();
            // Somewhere in a long row: SQLite would find nothing wrong.
            bytes[part * 65536 + 30_000] ^= u8::from(is_damaged);
            fs::write(&database, &bytes).unwrap();
            catalog.set_prune_epoch(part as u64 + 10).unwrap();
            drop(catalog);
            assert!(has_seal(&home));
            let (catalog, why) = Catalog::open(Some(&home), &REPO, KEY).unwrap();
            assert_eq!(why.is_some_and(|why| why.contains("its bytes are not")), is_damaged, "part {part}");
            assert_eq!(catalog.prune_epoch().unwrap(), if is_damaged { 0 } else { part as u64 + 10 });
        }
    }
}

#[test]
fn who_writes_after_another_one_has_closed_is_not_forgotten() {
    let (_dir, home) = folder();
    fill_many(&open(&home));
    let count = fs::read(home.join("catalog.sqlite")).unwrap().len() / 65536;
    for round in 0..10_u8 {
        // Each opens while the one before is there, so that the lock is never free; the first one knows the parts.
        let first = open(&home);
        first.put_manifest(&snapshot(1), &[round; 500]).unwrap();
        let second = open(&home);
        second.put_manifest(&snapshot(round * 9), &[round; 9000]).unwrap();
        let third = open(&home);
        drop(second);
        third.put_manifest(&snapshot(140 - round), &[round; 12_000]).unwrap();
        let order = if round % 2 == 0 { [first, third] } else { [third, first] };
        order.into_iter().for_each(drop);
        assert!(has_seal(&home));
        let catalog = open(&home);
        assert_eq!(catalog.manifest(&snapshot(140 - round)).unwrap().unwrap(), [round; 12_000]);
    }
    assert!(count > 15, "{count} parts");
}

/// A generator of small numbers: xorshift64, Marsaglia 2003.
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

/// The files of a catalog's folder as they are now: what a killed program would leave.
fn leave_as_killed(home: &Path) -> (TempDir, std::path::PathBuf) {
    let (dir, copy) = folder();
    fs::create_dir_all(&copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o700)).unwrap();
    for name in ["catalog.seal", "catalog.sqlite-wal", "catalog.sqlite"] {
        if home.join(name).exists() {
            fs::copy(home.join(name), copy.join(name)).unwrap();
        }
    }
    (dir, copy)
}

#[test]
fn nobody_is_alarmed_in_any_order_of_opening_writing_closing_and_kills() {
    let (mut kills, mut with_seal, mut without) = (0, 0, 0);
    for seed in 0..20 {
        let mut draw = numbers(seed);
        let (mut dir, mut home) = folder();
        fill_many(&open(&home));
        let mut instances: Vec<Catalog> = Vec::new();
        let mut last = None;
        for step in 0..60_u8 {
            match draw(8) {
                0..=2 if instances.len() < 3 => instances.push(open(&home)),
                3 | 4 if !instances.is_empty() => {
                    let catalog = &instances[draw(instances.len() as u64) as usize];
                    // Another place each time, and sometimes a longer file.
                    let other = snapshot(draw(150) as u8);
                    catalog.put_manifest(&other, &vec![step; 2000 + draw(9000) as usize]).unwrap();
                    catalog.put_manifest(&snapshot(200), &[step; 3000]).unwrap();
                    last = Some(vec![step; 3000]);
                }
                5 | 6 if !instances.is_empty() => {
                    drop(instances.swap_remove(draw(instances.len() as u64) as usize));
                }
                7 => {
                    // All of them at once. The copy is made while they live: their ends would tidy up.
                    let copy = leave_as_killed(&home);
                    instances.clear();
                    (dir, home) = copy;
                    kills += 1;
                    *(if has_seal(&home) { &mut with_seal } else { &mut without }) += 1;
                }
                _ => {}
            }
            if let Some(catalog) = instances.last() {
                assert_eq!(catalog.manifest(&snapshot(200)).unwrap(), last, "seed {seed}, step {step}");
            }
        }
        instances.clear();
        let catalog = open(&home);
        assert_eq!(catalog.manifest(&snapshot(200)).unwrap(), last);
        read_all(&catalog);
        drop(catalog);
        assert!(has_seal(&home));
        drop(dir);
    }
    assert!(kills > 50 && with_seal > 10 && without > 10, "{kills}: {with_seal} {without}");
}

#[test]
fn nobody_is_alarmed_when_several_open_write_and_close_at_once() {
    let (_dir, home) = folder();
    fill_many(&open(&home));
    std::thread::scope(|scope| {
        for number in 0..4_u8 {
            let home = &home;
            scope.spawn(move || {
                let mut draw = numbers(number.into());
                for round in 0..60 {
                    // Fails if it has anything to remark.
                    let catalog = open(home);
                    if draw(2) == 0 {
                        catalog.put_manifest(&snapshot(100 + number), &[round; 3000]).unwrap();
                        assert_eq!(
                            catalog.manifest(&snapshot(100 + number)).unwrap().unwrap(),
                            [round; 3000]
                        );
                    }
                }
            });
        }
    });
    assert!(has_seal(&home));
    read_all(&open(&home));
}
