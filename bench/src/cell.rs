//! What one contender did of one job, round by round, and how it stands to others in the same rounds.

use crate::contest::Contender;
use crate::json::Json;
use crate::report::{median, Figures};

/// One round that is above what is promised breaks the promise, whatever the others did.
const MOST: [&str; 4] = ["page_cache_pages", "peak_rss_kib", "allocations", "context_switches"];

/// One contender's rounds.  Round by round all cells of a job stand side by side, so a round in which
/// a contender did not take part is an empty one.
pub struct Cell {
    pub contender: Contender,
    rounds: Vec<Figures>,
    /// The last slice's texts: engine, configuration.
    texts: Vec<(String, String)>,
}

impl Cell {
    pub fn new(contender: Contender) -> Self {
        Cell { contender, rounds: Vec::new(), texts: Vec::new() }
    }

    /// Takes what a slice said.
    pub fn add(&mut self, line: &Json) {
        let mut figures = Figures::new();
        let Json::Map(fields) = line else { return };
        self.texts.clear();
        for (name, value) in fields {
            match value {
                Json::Number(number) => {
                    figures.insert(name.clone(), *number);
                }
                Json::Text(text) if ["engine", "engine_reason", "configuration", "tail"].contains(&name.as_str()) => {
                    self.texts.push((name.clone(), text.clone()));
                }
                _ => (),
            }
        }
        if let (Some(flushes), Some(records)) = (figures.get("flushes"), figures.get("records")) {
            figures.insert("flushes_per_record".into(), flushes / records);
        }
        if let (Some(slowest), Some(fastest)) = (figures.get("slowest_thread"), figures.get("fastest_thread")) {
            figures.insert("slowest_to_fastest".into(), slowest / fastest);
        }
        self.rounds.push(figures);
    }

    /// A round in which nothing was measured.
    pub fn skip(&mut self) {
        self.rounds.push(Figures::new());
    }

    /// A text of its line in the results.
    fn say(&mut self, name: &str, text: String) {
        self.texts.push((name.to_owned(), text));
    }

    pub fn all(&self, name: &str) -> Vec<f64> {
        self.rounds.iter().filter_map(|round| round.get(name).copied()).collect()
    }

    /// The median of the rounds; of maxima the greatest, and so of what must never be above something; NaN of
    /// what was not measured.
    pub fn value(&self, name: &str) -> f64 {
        let all = self.all(name);
        if name.ends_with("max_us") || MOST.contains(&name) {
            return all.into_iter().fold(f64::NAN, f64::max);
        }
        median(&all)
    }

    /// The fields of its line in the results; of what compares with others also the least and the most of the rounds.
    pub fn fields(&self) -> Vec<(String, Json)> {
        let mut fields = vec![
            ("contender".to_owned(), self.contender.name().into()),
            ("class".to_owned(), self.contender.class().into()),
        ];
        if let Contender::Peer { version, .. } = &self.contender {
            fields.push(("version".to_owned(), version.as_str().into()));
        }
        let mut names: Vec<&str> = self.rounds.iter().flat_map(|round| round.keys().map(String::as_str)).collect();
        names.sort_unstable();
        names.dedup();
        // What the job says already.
        names.retain(|name| !["threads", "bytes", "rate"].contains(name));
        for name in names {
            fields.push((name.to_owned(), self.value(name).into()));
            if name.contains("_to_") {
                let all = self.all(name);
                fields.push((format!("{name}_min"), all.iter().copied().fold(f64::NAN, f64::min).into()));
                fields.push((format!("{name}_max"), all.iter().copied().fold(f64::NAN, f64::max).into()));
            }
        }
        fields.extend(self.texts.iter().map(|(name, text)| (name.clone(), text.as_str().into())));
        let rates = self.all("per_second").into_iter().map(Json::Number).collect();
        fields.push(("rounds_per_second".to_owned(), Json::List(rates)));
        fields
    }
}

/// In every round: `name` of each cell becomes what `relation` makes of its own figure `own` and of figure
/// `other` of the cell at `base`.  Rounds that one of the two did not do are without.
pub fn relate(
    cells: &mut [Cell],
    base: usize,
    name: &str,
    (own, other): (&str, &str),
    relation: impl Fn(f64, f64) -> f64,
) {
    let figure = |round: &Figures, name: &str| round.get(name).copied().unwrap_or(f64::NAN);
    let others: Vec<f64> = cells[base].rounds.iter().map(|round| figure(round, other)).collect();
    for cell in cells {
        for (round, other) in cell.rounds.iter_mut().zip(&others) {
            let value = relation(figure(round, own), *other);
            if value.is_finite() {
                round.insert(name.to_owned(), value);
            }
        }
    }
}

/// The same for a plain ratio.
pub fn relate_ratio(cells: &mut [Cell], base: usize, name: &str, own_other: (&str, &str)) {
    relate(cells, base, name, own_other, |own, other| own / other);
}

/// Of the cells that `takes_part`, the one whose median of `name` is the greatest (`sign` 1) or the least (-1).
fn best(cells: &[Cell], takes_part: impl Fn(&Contender) -> bool, name: &str, sign: f64) -> Option<usize> {
    let all = cells.iter().enumerate().filter(|(_, cell)| takes_part(&cell.contender));
    let measured = all.map(|(at, cell)| (at, sign * cell.value(name))).filter(|(_, value)| !value.is_nan());
    measured.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at)
}

fn is_peer(contender: &Contender) -> bool {
    matches!(contender, Contender::Peer { .. })
}

/// How all stand to the best peer, which is that with the best median of all rounds, round by round.
pub fn compare_with_peers(cells: &mut [Cell]) {
    let who = |cells: &[Cell], at: usize| cells[at].contender.name();
    if let Some(at) = best(cells, is_peer, "per_second", 1.0) {
        relate_ratio(cells, at, "rate_to_best_peer", ("per_second", "per_second"));
        let name = who(cells, at);
        cells.iter_mut().for_each(|cell| cell.say("best_peer", name.clone()));
    }
    if let Some(at) = best(cells, is_peer, "device_bytes_per_record_byte", -1.0) {
        let figure = "device_bytes_per_record_byte";
        relate_ratio(cells, at, "device_bytes_to_least_peer", (figure, figure));
        let name = who(cells, at);
        cells.iter_mut().for_each(|cell| cell.say("least_peer", name.clone()));
    }
}

/// How all stand to the better one of twal's two engines.
pub fn compare_engines(cells: &mut [Cell]) {
    use twal::base::options::IoEngine::{Blocking, Uring};
    let forced = |contender: &Contender| matches!(contender, Contender::Twal(Uring | Blocking));
    if let Some(at) = best(cells, forced, "per_second", 1.0) {
        relate_ratio(cells, at, "rate_to_better_engine", ("per_second", "per_second"));
    }
}

/// Of several cells of one peer, which differ in how they were set up, only that with the best rate stays.
pub fn keep_best_setting(cells: &mut Vec<Cell>) {
    let names: Vec<String> = cells.iter().map(|cell| cell.contender.name()).collect();
    let best_of = |name: &String| best(cells, |contender| contender.name() == *name, "per_second", 1.0);
    let kept: Vec<Option<usize>> = names.iter().map(best_of).collect();
    let mut at = 0;
    cells.retain(|_| {
        at += 1;
        kept[at - 1] == Some(at - 1)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(contender: Contender, rates: &[f64]) -> Cell {
        let mut cell = Cell::new(contender);
        for rate in rates {
            cell.add(&Json::Map(vec![("per_second".into(), (*rate).into())]));
        }
        cell
    }

    fn peer(name: &str, rates: &[f64]) -> Cell {
        cell(Contender::Peer { name: name.into(), version: "1".into(), unflushed: None }, rates)
    }

    #[test]
    fn ratios_are_those_of_the_rounds() {
        // The medians' ratio would be 20 / 10.
        let mut cells = vec![
            peer("slow", &[1.0, 1.0, 1.0]),
            peer("fast", &[5.0, 10.0, 20.0]),
            cell(Contender::Limit, &[20.0, 10.0, 60.0]),
        ];
        compare_with_peers(&mut cells);
        assert_eq!(cells[2].all("rate_to_best_peer"), [4.0, 1.0, 3.0]);
        let fields = cells[2].fields();
        let field = |name: &str| fields.iter().find(|(its, _)| its == name).map(|(_, value)| value.clone());
        assert_eq!(field("rate_to_best_peer"), Some(3.0.into()));
        assert_eq!(field("rate_to_best_peer_min"), Some(1.0.into()));
        assert_eq!(field("rate_to_best_peer_max"), Some(4.0.into()));
        assert_eq!(field("best_peer"), Some("fast".into()));
    }

    #[test]
    fn a_promise_is_measured_by_its_worst_round() {
        let mut cell = Cell::new(Contender::Limit);
        for (pages, slowest) in [(0.0, 2.0), (0.0, 4.0), (7.0, 8.0)] {
            let figures = [("page_cache_pages", pages), ("slowest_thread", slowest), ("fastest_thread", 8.0)];
            cell.add(&Json::Map(figures.map(|(name, value)| (name.to_owned(), value.into())).to_vec()));
        }
        assert_eq!(cell.value("page_cache_pages"), 7.0);
        assert_eq!(cell.value("slowest_to_fastest"), 0.5);
    }

    #[test]
    fn a_round_that_is_missing_compares_with_nothing() {
        let mut cells = vec![peer("a", &[2.0]), cell(Contender::Limit, &[4.0, 8.0])];
        cells[0].skip();
        compare_with_peers(&mut cells);
        assert_eq!(cells[1].all("rate_to_best_peer"), [2.0]);
    }

    #[test]
    fn the_best_setting_of_each_peer_stays() {
        let mut cells = vec![
            cell(Contender::Limit, &[1.0]),
            peer("a", &[2.0]),
            peer("a", &[3.0]),
            peer("b", &[5.0]),
            peer("b", &[4.0]),
            peer("c", &[]),
        ];
        keep_best_setting(&mut cells);
        let kept: Vec<(String, f64)> =
            cells.iter().map(|cell| (cell.contender.name(), cell.value("per_second"))).collect();
        assert_eq!(kept, [("L".into(), 1.0), ("a".into(), 3.0), ("b".into(), 5.0)]);
    }
}
