//! Passwords and keys: where they come from, which one counts, and what is said when they are wrong.

use crate::kit::World;

fn world_with_password() -> World {
    let world = World::new();
    world.write("pw", "correct horse\nsecond line\n");
    world.run(["-r", "repo", "--password-file", "pw", "init", "-q"]).succeeded();
    world
}

#[test]
fn a_password_opens_from_a_file_a_command_and_the_environment() {
    let world = world_with_password();
    world.run(["-r", "repo", "-p", "pw", "list"]).succeeded();
    world.run(["-r", "repo", "--password-command", "cat pw", "list"]).succeeded();
    let pw = world.text("pw");
    world
        .run_with(&[("CHATVAULT_REPOSITORY", "repo"), ("CHATVAULT_PASSWORD_FILE", &pw)], &["list"])
        .succeeded();
    world.run_with(&[("CHATVAULT_PASSWORD_COMMAND", "head -1 pw")], &["-r", "repo", "list"]).succeeded();
}

#[test]
fn a_wrong_password_is_12_and_does_not_tell_how_many_slots_there_are() {
    let world = world_with_password();
    world.write("wrong", "incorrect horse\n");
    let ran = world.run(["-r", "repo", "-p", "wrong", "list"]).failed_with(12, &["password"]);
    assert!(!ran.stderr.contains("slot") && !ran.stderr.contains("incorrect"), "{}", ran.stderr);
}

#[test]
fn a_wrong_or_mistyped_recovery_key_is_12() {
    let world = World::with_repository();
    world.run(["-r", "other", "--recovery-key-file", "other.key", "init", "-q"]).succeeded();
    world.run(["-r", "repo", "--recovery-key-file", "other.key", "list"]).failed_with(12, &["recovery key"]);
    world.write("typo", world.read("key").replacen('-', "-f", 2));
    world.run(["-r", "repo", "--recovery-key-file", "typo", "list"]).failed_with(12, &["70 digits"]);
    world.write("whatsapp", "0123456789abcdef".repeat(4));
    world.run(["-r", "repo", "--recovery-key-file", "whatsapp", "list"]).failed_with(12, &["WhatsApp"]);
}

#[test]
fn two_secrets_on_one_level_are_wrong_usage_and_the_command_line_beats_the_environment() {
    let world = world_with_password();
    world.run(["-r", "repo", "-p", "pw", "--recovery-key-file", "k", "list"]).failed_with(2, &["Both"]);
    let both = [("CHATVAULT_PASSWORD_FILE", "pw"), ("CHATVAULT_RECOVERY_KEY_FILE", "k")];
    world.run_with(&both, &["-r", "repo", "list"]).failed_with(2, &["CHATVAULT_RECOVERY_KEY_FILE"]);
    world.run_with(&both, &["-r", "repo", "-p", "pw", "list"]).succeeded();
}

#[test]
fn missing_secrets_and_failing_commands_are_told() {
    let world = world_with_password();
    world.run(["-r", "repo", "list"]).failed_with(2, &["no terminal", "--password-file"]);
    world.run(["-r", "repo", "-p", "nowhere", "list"]).failed_with(1, &["nowhere"]);
    let ran = world.run(["-r", "repo", "--password-command", "echo oops; false", "list"]);
    assert!(!ran.failed_with(1, &["password command"]).stderr.contains("oops"));
}

#[test]
fn a_recovery_kit_opens_as_a_key_file() {
    let world = World::with_repository();
    world.repo(&["recovery-kit", "--output", "kit.txt"]).succeeded();
    world.run(["-r", "repo", "--recovery-key-file", "kit.txt", "list"]).succeeded();
}
