//! Participants in other processes, as a model: each remembers the tokens that it has seen and what it answered, and
//! survives every crash of the coordinator.

use std::collections::BTreeMap;
use std::sync::Mutex;

use twal::txn::event::Name;
use twal::txn::{Direction, Outcome, Participants, ShardAction, StepAction, Token};

/// What was done: operation, step or shard, direction.
pub type Effect = (u64, u32, Direction);

/// What happens beside a call: its number from 0 on, whether it comes before the effect, and what the effect is.
pub type Beside<'a> = Box<dyn Fn(usize, bool, Effect) + Sync + 'a>;

#[derive(Default)]
pub struct Memory {
    /// What each token was answered.
    answers: BTreeMap<Token, Outcome>,
    /// Effects, in the order in which they happened.
    pub effects: Vec<Effect>,
    pub calls: usize,
}

pub struct Shards<'a> {
    pub memory: Mutex<Memory>,
    /// What a first call of this effect is answered.
    pub answer: fn(Effect) -> Outcome,
    pub beside: Beside<'a>,
}

impl<'a> Shards<'a> {
    pub fn new(answer: fn(Effect) -> Outcome) -> Shards<'a> {
        Shards { memory: Mutex::default(), answer, beside: Box::new(|_, _, _| {}) }
    }

    fn call(&self, effect: Effect, token: Token) -> Outcome {
        let call = {
            let mut memory = self.memory.lock().unwrap();
            memory.calls += 1;
            memory.calls - 1
        };
        (self.beside)(call, true, effect);
        let answer = {
            let mut guard = self.memory.lock().unwrap();
            let memory = &mut *guard;
            let effects = &mut memory.effects;
            *memory.answers.entry(token).or_insert_with(|| {
                let answer = (self.answer)(effect);
                if answer == Outcome::Done {
                    effects.push(effect);
                }
                answer
            })
        };
        (self.beside)(call, false, effect);
        answer
    }

    fn step(&self, action: &StepAction<'_>, direction: Direction) -> Outcome {
        self.call((action.saga, action.step.index, direction), action.token)
    }

    fn shard(&self, action: &ShardAction<'_>, direction: Direction) -> Outcome {
        self.call((action.transaction, number(action.shard), direction), action.token)
    }

    /// The effects of one operation in these directions: the parts, in order.
    pub fn parts(&self, id: u64, direction: Direction) -> Vec<u32> {
        let memory = self.memory.lock().unwrap();
        memory.effects.iter().filter(|effect| (effect.0, effect.2) == (id, direction)).map(|effect| effect.1).collect()
    }
}

fn number(shard: &Name) -> u32 {
    shard[0].into()
}

impl Participants for Shards<'_> {
    fn execute(&self, action: &StepAction<'_>) -> Outcome {
        self.step(action, Direction::Execute)
    }

    fn compensate(&self, action: &StepAction<'_>) -> Outcome {
        self.step(action, Direction::Compensate)
    }

    fn commit(&self, action: &ShardAction<'_>) -> Outcome {
        self.shard(action, Direction::Commit)
    }

    fn abort(&self, action: &ShardAction<'_>) -> Outcome {
        self.shard(action, Direction::Abort)
    }

    fn rollback(&self, action: &ShardAction<'_>) -> Outcome {
        self.shard(action, Direction::Rollback)
    }
}
