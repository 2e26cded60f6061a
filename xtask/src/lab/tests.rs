//! The runner, on tests that are a line of shell.

use super::*;

/// Runs a script as a test would be run; its verdict and its last line.
fn run_script(name: &str, script: &str, limit_ms: u64) -> (Verdict, String) {
    let dir = target().join("lab-test");
    fs::create_dir_all(&dir).unwrap();
    let limit = Duration::from_millis(limit_ms);
    let grace = Duration::from_millis(500);
    let test = Test { name: name.into(), path: dir.clone(), limit, grace, needs_root: false };
    let mark = Mark::new(name);
    let mut command = Command::new("bash");
    command.args(["-c", script]).env(Mark::VARIABLE, mark.value()).process_group(0);
    let answer = watch(command, &test, &dir.join(format!("{name}.log")), &mark).unwrap();
    assert!(mark.end(grace).is_empty(), "something is left running");
    answer
}

fn ran(verdict: Verdict, last: &str) -> Ran {
    Ran { name: "x".into(), verdict, took: Duration::ZERO, last: last.into() }
}

#[test]
fn the_exit_status_is_the_verdict() {
    assert_eq!(run_script("good", "echo fine", 5000), (Verdict::Passed, "fine".into()));
    let (verdict, last) = run_script("skip", "echo skip: no moon; exit 77", 5000);
    assert_eq!((verdict, last.as_str()), (Verdict::Skipped, "skip: no moon"));
    assert!(
        matches!(run_script("bad", "exit 3", 5000).0, Verdict::Failed(why) if why.contains('3'))
    );
}

#[test]
fn what_a_test_leaves_running_is_ended_even_in_a_session_of_its_own() {
    let script = "setsid sleep 100 & nohup sleep 100 >/dev/null 2>&1 & echo done";
    let began = Instant::now();
    assert_eq!(run_script("leftovers", script, 5000).0, Verdict::Passed);
    assert!(began.elapsed() < Duration::from_secs(20), "it waited for what was left");
}

#[test]
fn a_test_past_its_limit_fails_after_its_own_clean_up() {
    let (verdict, last) =
        run_script("late", "trap 'echo cleaned; exit 1' TERM; sleep 100 & wait", 200);
    assert!(matches!(verdict, Verdict::Failed(why) if why.contains("not done")));
    assert_eq!(last, "cleaned");
}

#[test]
fn a_test_deaf_to_signals_is_ended_too() {
    let (verdict, _) = run_script("deaf", "trap '' TERM; while :; do sleep 1; done", 200);
    assert!(matches!(verdict, Verdict::Failed(_)));
}

#[test]
fn the_head_of_a_test_sets_its_limit() {
    let test = |text: &str| Test::new("a/05-x.sh".into(), text).unwrap();
    assert_eq!(test("#!/bin/bash\n# About.\n# limit: 30\n. lib").limit, Duration::from_secs(30));
    assert_eq!(test("#!/bin/bash\necho\n# limit: 30").limit, LIMIT);
    assert!(test("#!/bin/bash\n").needs_root);
    assert!(!test("#!/bin/bash\n# root: no\n").needs_root);
    assert_eq!(test("").name, "05-x");
    assert!(Test::new("x.sh".into(), "# limit: soon").is_err());
}

#[test]
fn names_choose_by_part_and_unknown_ones_are_refused() {
    let all = || ["10-netlab", "20-jack"].map(|n| Test::new(n.into(), "").unwrap()).to_vec();
    let names = |tests: Vec<Test>| tests.into_iter().map(|t| t.name).collect::<Vec<_>>();
    assert_eq!(names(chosen(all(), &[]).unwrap()).len(), 2);
    assert_eq!(names(chosen(all(), &["jack".into()]).unwrap()), ["20-jack"]);
    let error = chosen(all(), &["jakc".into()]).unwrap_err().to_string();
    assert!(error.contains("10-netlab, 20-jack"), "{error}");
}

#[test]
fn ci_takes_only_missing_devices_for_a_skip() {
    let plain = ran(Verdict::Skipped, "skip: not installed");
    assert!(plain.is_failure(true) && !plain.is_failure(false));
    assert!(!ran(Verdict::Skipped, "skip-device: no sound card").is_failure(true));
    assert!(!ran(Verdict::Passed, "").is_failure(true));
    assert!(ran(Verdict::Failed("x".into()), "").is_failure(false));
}
