//! `twal txn`: operations that a crash, or nobody yet, has left unfinished.

use std::io::Write;
use std::path::Path;

use twal::txn::manager::inspect;
use twal::txn::plan::plan;
use twal::txn::{Family, Saga, State, StepStatus, Table, Transaction, Unfinished};
use twal::Code;

use crate::cli::{FamilyArg, TxnCommand};
use crate::exit::{Exit, Failure};
use crate::open;
use crate::output::{hex, list as json_list, name, visible, Json, Out};

pub fn run(command: &TxnCommand, out: &mut Out) -> Result<Exit, Failure> {
    match command {
        TxnCommand::Ls { log, json } => list(&table_of(&log.log)?, *json, out),
        TxnCommand::Show { log, family, id, json } => show(&table_of(&log.log)?, (*family, *id), *json, out),
    }
}

fn table_of(dir: &Path) -> Result<Table, Failure> {
    let inspected = inspect(&open::to_read_whole(dir)?);
    Ok(inspected
        .map_err(|error| if error.code == Code::Trimmed { Failure::released(error) } else { error.into() })?
        .table)
}

fn list(table: &Table, json: bool, out: &mut Out) -> Result<Exit, Failure> {
    for unfinished in plan(table) {
        let line = if json { head(&unfinished).end() } else { line(&unfinished) };
        writeln!(out, "{line}")?;
    }
    Ok(Exit::Clean)
}

fn line(unfinished: &Unfinished) -> String {
    let Unfinished { family, id, state, action, last_seq, coordinator, parts, done } = unfinished;
    let (family, state, action) = (family.name(), state_name(*state), action.name());
    let parts = format!("{done} of {parts} done");
    format!("{family:11}  {id:>8}  {state:13}  {action:23}  {parts:15}  last seq {last_seq}  by {}", name(coordinator))
}

fn head(unfinished: &Unfinished) -> Json {
    Json::new()
        .text("family", unfinished.family.name())
        .put("id", unfinished.id)
        .text("state", state_name(unfinished.state))
        .text("action", unfinished.action.name())
        .put("parts", unfinished.parts)
        .put("done", unfinished.done)
        .put("last_seq", unfinished.last_seq)
        .text("coordinator", name(&unfinished.coordinator))
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Saga(state) => state.name(),
        State::Transaction(state) => state.name(),
    }
}

fn show(table: &Table, (family, id): (FamilyArg, u64), json: bool, out: &mut Out) -> Result<Exit, Failure> {
    let missing = |family: Family| Failure::usage(format!("there is no {} {id} that is not finished", family.name()));
    match family {
        FamilyArg::Saga => {
            let saga = table.saga(id).ok_or_else(|| missing(Family::Saga))?;
            show_saga(&Unfinished::of_saga(id, saga), saga, json, out)
        }
        FamilyArg::Transaction => {
            let found = table.transactions().find(|(other, _)| *other == id);
            let (_, transaction) = found.ok_or_else(|| missing(Family::Transaction))?;
            show_transaction(&Unfinished::of_transaction(id, transaction), transaction, json, out)
        }
    }
}

fn show_saga(unfinished: &Unfinished, saga: &Saga, json: bool, out: &mut Out) -> Result<Exit, Failure> {
    if json {
        let steps = saga.steps().iter().map(|step| {
            Json::new()
                .put("index", step.step.index)
                .put("action", step.step.action)
                .put("level", step.level)
                .text("status", status_text(step.status))
                .put("depends_on", json_list(step.step.depends_on.iter().map(u32::to_string)))
                .text("payload", hex(&step.step.payload))
                .end()
        });
        let json = head(unfinished).put("created_seq", saga.created_seq).put("steps", json_list(steps));
        writeln!(out, "{}", json.end())?;
        return Ok(Exit::Clean);
    }
    facts(out, unfinished, saga.created_seq)?;
    for step in saga.steps() {
        let twal::txn::Step { index, action, depends_on, payload } = &step.step;
        write!(out, "step {index}  action {action}  {}", status_text(step.status))?;
        if !depends_on.is_empty() {
            let on: Vec<String> = depends_on.iter().map(u32::to_string).collect();
            write!(out, "  after {}", on.join(", "))?;
        }
        if !payload.is_empty() {
            write!(out, "  payload {}", visible(payload).replace('\n', "\\n"))?;
        }
        writeln!(out)?;
    }
    Ok(Exit::Clean)
}

fn status_text(status: StepStatus) -> String {
    match status {
        StepStatus::Pending => "pending".into(),
        StepStatus::Succeeded => "succeeded".into(),
        StepStatus::Failed(error) => format!("failed with {error}"),
        StepStatus::Compensated => "compensated".into(),
        StepStatus::CompensationFailed(retries) => format!("not compensated in {retries} tries"),
    }
}

fn show_transaction(
    unfinished: &Unfinished,
    transaction: &Transaction,
    json: bool,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let vote_name = |vote| match vote {
        None => "none",
        Some(true) => "commit",
        Some(false) => "abort",
    };
    let participants = transaction.participants().iter();
    if json {
        let participants = participants.map(|participant| {
            let json = Json::new().text("shard", name(&participant.shard)).text("node", name(&participant.node));
            json.text("vote", vote_name(participant.vote)).end()
        });
        let json = head(unfinished).put("created_seq", transaction.created_seq);
        writeln!(out, "{}", json.put("participants", json_list(participants)).end())?;
        return Ok(Exit::Clean);
    }
    facts(out, unfinished, transaction.created_seq)?;
    for participant in participants {
        let (shard, node) = (name(&participant.shard), name(&participant.node));
        writeln!(out, "participant {shard}  node {node}  vote {}", vote_name(participant.vote))?;
    }
    Ok(Exit::Clean)
}

fn facts(out: &mut Out, unfinished: &Unfinished, created_seq: u64) -> Result<(), Failure> {
    out.fact(unfinished.family.name(), unfinished.id)?;
    out.fact("state", state_name(unfinished.state))?;
    out.fact("recovery does", unfinished.action.name())?;
    out.fact("coordinator", name(&unfinished.coordinator))?;
    out.fact("records", format_args!("from {created_seq} to {}", unfinished.last_seq))?;
    out.fact("done", format_args!("{} of {}", unfinished.done, unfinished.parts))?;
    Ok(())
}
