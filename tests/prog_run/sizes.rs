//! What each program costs, written down and reviewed like code: `programs.txt`.
//!
//! `instructions` and `stack` are the object's own: whole, before any kernel has seen it, and the bytes that
//! the frames of its deepest chain of calls take, each a multiple of 32, as Linux 6.1 counts them: 512 is
//! the limit, and a kernel that counts in smaller units does not show that it was passed. `verified` is how many instructions a kernel's
//! verifier went through, of the million it allows. Compilers and kernels have tastes, so from what is written
//! `instructions` may differ by a twentieth, `stack` by 64 bytes and `verified` by a quarter; beyond that somebody
//! must look, and run this again with `NETEBPF_UPDATE=1`.

use crate::machine::Kernel;
use aya_obj::{Object, generated::bpf_insn};
use netebpf_common::abi::program;
use std::{collections::BTreeMap, fmt::Write as _, fs};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/prog_run/programs.txt");

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Size {
    instructions: u32,
    stack: u32,
    verified: u32,
}

type Sizes = BTreeMap<String, Size>;

#[test]
fn programs_are_as_large_as_is_written_down() {
    let own = from_object();
    let written = read(&fs::read_to_string(FILE).expect("programs.txt is there"));
    let mut sizes = own.clone();
    crate::in_kernel(crate::Outside::Tc, crate::Checksums::Direct, |kernel| {
        verified(kernel, &mut sizes)
    });
    if std::env::var_os("NETEBPF_UPDATE").is_some() {
        fs::write(FILE, write(&sizes)).expect("programs.txt can be written");
        return;
    }
    let near = |new: u32, old: u32, part: u32| new.abs_diff(old) <= old / part;
    let as_written = sizes.iter().all(|(name, new)| {
        written.get(name).is_some_and(|old| {
            near(new.instructions, old.instructions, 20)
                && new.stack.abs_diff(old.stack) <= 64
                && (new.verified == 0 || near(new.verified, old.verified, 4))
        })
    });
    assert!(as_written && sizes.len() == written.len(), "now it is\n\n{}", write(&sizes));
    assert!(sizes.values().all(|size| size.stack <= 512), "too deep\n\n{}", write(&sizes));
}

fn from_object() -> Sizes {
    let mut object = Object::parse(netebpf::kernel::OBJECT).expect("our own object");
    let sections = object.functions.keys().map(|(section, _)| *section).collect();
    object.relocate_calls(&sections).expect("a program's functions are beside it");
    let of = |name: &&str| {
        let program = &object.programs[*name];
        let function = &object.functions[&program.function_key()];
        let size = Size {
            instructions: function.instructions.len() as u32,
            stack: chain(&function.instructions, 0),
            verified: 0,
        };
        ((*name).to_owned(), size)
    };
    program::PACKETS.iter().chain(&program::SOCKETS).chain(&program::SHORTCUT).map(of).collect()
}

/// What the frames of the function at `begin`, and of the deepest chain of those that it calls, take.
fn chain(instructions: &[bpf_insn], begin: usize) -> u32 {
    let called = |at: usize| {
        let instruction = &instructions[at];
        let is_call = instruction.code == 0x85 && instruction.src_reg() == 1;
        is_call.then(|| at.wrapping_add_signed(instruction.imm as isize) + 1)
    };
    let beginnings = (0..instructions.len()).filter_map(called);
    let end = beginnings.filter(|at| *at > begin).min().unwrap_or(instructions.len());
    let own = depth(&instructions[begin..end]).max(1).next_multiple_of(32);
    let below = (begin..end).filter_map(called).map(|at| chain(instructions, at)).max();
    own + below.unwrap_or(0)
}

/// The deepest byte below the frame pointer, register 10, that is reached: directly, or by a copy of it
/// that the next instruction lowers.
fn depth(instructions: &[bpf_insn]) -> u32 {
    const MOVE: u8 = 0xbf;
    const ADD: u8 = 0x07;
    let mut deepest = 0;
    for (n, instruction) in instructions.iter().enumerate() {
        let (class, mode) = (instruction.code & 7, instruction.code >> 5);
        let from_frame = match class {
            1 if mode == 3 => instruction.src_reg() == 10,
            2 | 3 => instruction.dst_reg() == 10,
            _ => false,
        };
        if from_frame {
            deepest = deepest.max(-i32::from(instruction.off));
        }
        if instruction.code == MOVE
            && instruction.src_reg() == 10
            && let Some(next) = instructions.get(n + 1)
            && next.code == ADD
            && next.dst_reg() == instruction.dst_reg()
        {
            deepest = deepest.max(-next.imm);
        }
    }
    deepest.unsigned_abs()
}

fn verified(kernel: &Kernel, sizes: &mut Sizes) {
    for (name, program) in kernel.programs().expect("the kernel knows them") {
        let size = sizes.get_mut(name).expect("the object has them");
        size.verified = program.verified_instruction_count().unwrap_or(0);
    }
}

fn write(sizes: &Sizes) -> String {
    let mut text =
        format!("{:20}{:>14}{:>8}{:>10}\n", "program", "instructions", "stack", "verified");
    for (name, size) in sizes {
        let Size { instructions, stack, verified } = size;
        writeln!(text, "{name:20}{instructions:>14}{stack:>8}{verified:>10}").expect("memory");
    }
    text
}

fn read(text: &str) -> Sizes {
    let number = |word: Option<&str>| word.and_then(|word| word.parse().ok()).expect("a number");
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next().expect("a name").to_owned();
        let instructions = number(words.next());
        let stack = number(words.next());
        (name, Size { instructions, stack, verified: number(words.next()) })
    };
    text.lines().skip(1).map(row).collect()
}
