//! An assembler for classic BPF, written from the end: a jump goes only forward, so its target is known when it is written.

/// `struct sock_filter`, linux/filter.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    pub code: u16,
    pub jump_true: u8,
    pub jump_false: u8,
    pub value: u32,
}

// linux/bpf_common.h.
pub(super) const LOAD_WORD: u16 = 0x20;
pub(super) const AND: u16 = 0x54;
pub(super) const JUMP: u16 = 0x05;
pub(super) const JUMP_EQUAL: u16 = 0x15;
pub(super) const JUMP_GREATER: u16 = 0x25;
pub(super) const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
pub(super) const RETURN: u16 = 0x06;

/// How far a conditional jump may go here: 255, less the two instructions that making both its targets near can add.
const NEAR: usize = 253;

/// An instruction that is written already, counted from the end of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

/// A program being written, its last instruction first.
#[derive(Debug, Default)]
pub(super) struct Program {
    backwards: Vec<Instruction>,
}

impl Program {
    /// Returns a value (SECCOMP_RET_*).
    pub(super) fn ret(&mut self, value: u32) -> Label {
        let written = self
            .backwards
            .iter()
            .rposition(|found| found.code == RETURN && found.value == value);
        match written {
            Some(index) if self.is_near(Label(index)) => Label(index),
            _ => self.write(RETURN, value),
        }
    }

    /// Loads a word of `struct seccomp_data`, and goes on.
    pub(super) fn load(&mut self, offset: u32, next: Label) -> Label {
        self.place_next(next);
        self.write(LOAD_WORD, offset)
    }

    /// Keeps the bits of a mask, and goes on.
    pub(super) fn and(&mut self, mask: u32, next: Label) -> Label {
        self.place_next(next);
        self.write(AND, mask)
    }

    /// Compares what is loaded, and goes one way or the other.
    pub(super) fn branch(&mut self, code: u16, value: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        let yes = self.near(yes);
        let no = self.near(no);
        let distance = |label: Label| u8::try_from(self.distance(label)).unwrap_or(u8::MAX);
        let instruction = Instruction {
            code,
            jump_true: distance(yes),
            jump_false: distance(no),
            value,
        };
        self.push(instruction)
    }

    /// The instructions in their order.
    pub(super) fn finish(mut self, start: Label) -> Vec<Instruction> {
        self.place_next(start);
        self.backwards.reverse();
        self.backwards
    }

    /// Sees to it that what is written next goes on with `next`.
    fn place_next(&mut self, next: Label) {
        let distance = self.distance(next);
        if distance > 0 {
            self.write(JUMP, u32::try_from(distance).unwrap_or(u32::MAX));
        }
    }

    /// The label, or a copy or a jump to it that a conditional jump reaches.
    fn near(&mut self, label: Label) -> Label {
        if self.is_near(label) {
            return label;
        }
        match self.backwards.get(label.0).copied() {
            Some(instruction) if instruction.code == RETURN => self.push(instruction),
            _ => {
                let distance = u32::try_from(self.distance(label)).unwrap_or(u32::MAX);
                self.write(JUMP, distance)
            }
        }
    }

    fn is_near(&self, label: Label) -> bool {
        self.distance(label) <= NEAR
    }

    /// How many instructions are between the label and the one that is written next.
    fn distance(&self, label: Label) -> usize {
        self.backwards.len().saturating_sub(label.0 + 1)
    }

    fn write(&mut self, code: u16, value: u32) -> Label {
        self.push(Instruction {
            code,
            jump_true: 0,
            jump_false: 0,
            value,
        })
    }

    fn push(&mut self, instruction: Instruction) -> Label {
        self.backwards.push(instruction);
        Label(self.backwards.len() - 1)
    }
}
