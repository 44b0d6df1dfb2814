//! What the trials of a search say: which number is next, and the answer.

use crate::metrics::sequential::Outcome;
use crate::report::find::{Answer, By, Document, KNEE, Question, Trial};
use crate::run::search::{Known, Search, Wanted};

pub(super) fn search_of(question: &Question) -> Search {
    let is_smallest = question.by == By::ReadThreads || question.threshold_percent.is_none();
    Search {
        wanted: if is_smallest {
            Wanted::Smallest
        } else {
            Wanted::Largest
        },
        largest: question.at_most,
    }
}

/// Which numbers pass, as far as they were tried.
fn known_of(document: &Document) -> Known {
    let best = document
        .trials
        .iter()
        .map(|t| t.gib_per_second)
        .fold(0.0, f64::max);
    let passes = |trial: &Trial| match trial.outcome {
        Some(outcome) => outcome == Outcome::Pass,
        None => trial.gib_per_second >= (1.0 - KNEE) * best,
    };
    document
        .trials
        .iter()
        .map(|t| (t.number, passes(t)))
        .collect()
}

/// The number to try next; None when the answer is known.
pub(super) fn next_of(document: &Document) -> Option<u64> {
    let (question, known) = (&document.question, known_of(document));
    if question.threshold_percent.is_none() {
        // Which rate is the highest is known when all doublings were tried.
        let largest = question.at_most;
        let doublings = (0..=largest.ilog2()).map(|power| 1 << power);
        let untried = doublings.chain([largest]).find(|n| !known.contains_key(n));
        if untried.is_some() {
            return untried;
        }
    }
    search_of(question).next(&known)
}

/// One trial, for people.
pub(super) fn line_of(document: &Document, trial: &Trial) -> String {
    let question = &document.question;
    let what = question.by.of(trial.number * question.unit);
    let place = document.trials.len() + 1;
    match (trial.outcome, trial.au_percent) {
        (Some(outcome), Some(au)) => {
            let word = match outcome {
                Outcome::Pass => "pass",
                Outcome::Fail => "fail",
                Outcome::Undecided => "undecided",
            };
            format!(
                "trial {place}: {what}: AU {au:.2} %: {word}, {} steps in {:.1} s",
                trial.steps, trial.seconds
            )
        }
        _ => format!("trial {place}: {what}: {:.3} GiB/s", trial.gib_per_second),
    }
}

/// What the trials come to.
pub(super) fn answer_of(document: &Document) -> Answer {
    let (question, known) = (&document.question, known_of(document));
    let search = search_of(question);
    let best = search.best(&known);
    let of = |number: u64| question.by.of(number * question.unit);
    let trial = |number: u64| document.trials.iter().find(|t| t.number == number);
    let au = |t: &Trial| match t.au_percent {
        Some(au) => format!("AU {au:.2} %"),
        None => format!("{:.3} GiB/s", t.gib_per_second),
    };
    let with = |number: u64| trial(number).map_or(String::new(), |t| format!(" ({})", au(t)));
    // The trial whose losses say why it is not better.
    let beyond = match search.wanted {
        Wanted::Largest => trial(best.unwrap_or(0) + 1),
        Wanted::Smallest => best.map_or_else(
            || trial(question.at_most),
            |best| trial(best.saturating_sub(1)),
        ),
    };
    let limit = beyond.and_then(|t| t.limit);
    let mut text = match (question.threshold_percent, best) {
        (None, Some(best)) => format!(
            "{} have the highest rate within {:.0} %{}",
            of(best),
            100.0 * KNEE,
            with(best)
        ),
        (None, None) => "no checkpoint was saved or loaded".into(),
        (Some(threshold), None) => format!("none passes {threshold} %"),
        (Some(threshold), Some(best)) if search.wanted == Wanted::Smallest => {
            format!(
                "{} are the fewest that pass {threshold} %{}",
                of(best),
                with(best)
            )
        }
        (Some(threshold), Some(best)) => {
            format!(
                "{} are the most that pass {threshold} %{}",
                of(best),
                with(best)
            )
        }
    };
    if let Some(t) = beyond {
        text += &format!("; {}: {}", of(t.number), au(t));
    } else if best == Some(question.at_most) && search.wanted == Wanted::Largest {
        text += "; more were not tried";
    }
    if let Some(limit) = limit {
        text += &format!("; the limit is {}", limit.words());
    }
    Answer {
        number: best.map(|best| best * question.unit),
        confidence_percent: 100.0 * (1.0 - question.error),
        limit,
        text,
        notes: notes_of(document, &search, &known),
    }
}

fn notes_of(document: &Document, search: &Search, known: &Known) -> Vec<String> {
    let question = &document.question;
    let of = |number: u64| question.by.of(number * question.unit);
    let mut notes = Vec::new();
    for t in document
        .trials
        .iter()
        .filter(|t| t.outcome == Some(Outcome::Undecided))
    {
        let seen = match t.au_interval_percent {
            Some([low, high]) => format!("AU is between {low:.2} and {high:.2} %"),
            None => "no steady state was reached".into(),
        };
        notes.push(format!(
            "{}: {seen}, which {} min do not decide; it counts as not passing; more time (--minutes) may decide it",
            of(t.number),
            document.minutes
        ));
    }
    for number in search.odd(known) {
        let (is, others) = match known.get(&number) {
            Some(true) => ("passes", "a smaller number fails"),
            _ => ("fails", "a smaller number passes"),
        };
        notes.push(format!(
            "not monotone: {} {is}, though {others}",
            of(number)
        ));
    }
    notes.extend(rises(document));
    notes
}

/// AU that is higher with more accelerators than with fewer, beyond both intervals.
fn rises(document: &Document) -> Option<String> {
    let question = &document.question;
    if question.by == By::ReadThreads {
        return None;
    }
    let mut trials: Vec<&Trial> = document.trials.iter().collect();
    trials.sort_by_key(|t| t.number);
    let interval = |t: &Trial| t.au_interval_percent;
    let pair = trials.windows(2).find(|pair| {
        matches!((interval(pair[0]), interval(pair[1])), (Some([_, high]), Some([low, _])) if low > high + 1.0)
    })?;
    Some(format!(
        "not monotone: AU rises from {} ({:.2} %) to {} ({:.2} %)",
        question.by.of(pair[0].number),
        pair[0].au_percent.unwrap_or(0.0),
        question.by.of(pair[1].number),
        pair[1].au_percent.unwrap_or(0.0)
    ))
}
