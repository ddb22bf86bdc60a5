//! Colours and control characters: only where a terminal wants them.

use std::{fs, io::Read as _, os::fd::OwnedFd, process::Command};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::machine::Machine;

/// A store whose index cannot be read makes the program write to its log.
fn with_a_damaged_index(machine: &Machine) {
    machine.write_source();
    machine.back_up(&["src"]);
    for object in machine.objects("v1/ix") {
        fs::write(object, "damaged").expect("a write");
    }
    // A file that is new, and large enough to be looked for in the index.
    machine.write("src/new", vec![7; 10_000]);
}

/// What a command writes to its standard error where that is a terminal.
fn on_a_terminal(command: &mut Command) -> String {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&controller).and_then(|()| unlockpt(&controller)).expect("a terminal");
    let name = ptsname(&controller, Vec::new()).expect("a name").into_string().expect("a name in ASCII");
    let terminal: OwnedFd = fs::File::options().read(true).write(true).open(name).expect("a terminal").into();
    let mut child = command.stdout(std::process::Stdio::null()).stderr(terminal).spawn().expect("the program starts");
    // The command holds the terminal open too: without this, reading would not end.
    command.stderr(std::process::Stdio::null());
    let mut controller = fs::File::from(controller);
    let mut seen = Vec::new();
    // Reading fails when the last one who can write has gone.
    let _ = controller.read_to_end(&mut seen);
    assert!(child.wait().expect("an end").success());
    String::from_utf8_lossy(&seen).into_owned()
}

#[test]
fn the_log_has_colours_on_a_terminal_alone_and_none_where_no_color_is_set() {
    let machine = Machine::new();
    with_a_damaged_index(&machine);
    let arguments = ["volume", "backup", "src"];
    let warning = "Left out";
    let plain = machine.run(&arguments);
    assert!(plain.code == Some(0) && plain.stderr.contains(warning) && !plain.stderr.contains('\x1b'), "{plain:?}");
    let coloured = on_a_terminal(&mut machine.command(&arguments));
    assert!(coloured.contains(warning) && coloured.contains("\x1b[33m"), "{coloured:?}");
    let without = on_a_terminal(machine.command(&arguments).env("NO_COLOR", "1"));
    assert!(without.contains(warning) && !without.contains("\x1b[33m"), "{without:?}");
    let empty = on_a_terminal(machine.command(&arguments).env("NO_COLOR", ""));
    assert!(empty.contains("\x1b[33m"), "an empty NO_COLOR is none: {empty:?}");
}

#[test]
fn help_has_colours_on_a_terminal_alone() {
    let machine = Machine::new();
    assert!(!machine.succeed(&["--help"]).contains('\x1b'));
    assert!(!machine.run(&["volume", "mumble"]).stderr.contains('\x1b'));
}
