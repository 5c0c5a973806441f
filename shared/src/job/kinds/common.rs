//! The fields that every kind of job has.

use super::{
    limits::{MOST_MEMORY_MIB, MOST_RETRIES, MOST_TIMEOUT_SECONDS},
    schema::{Choice, Field, Type, choice, choices, text},
};
use crate::job::{
    Priority,
    metadata::{MOST_LABELS, MOST_NAME},
};

/// The field that says which kind a job is of. It is no [`Field`]: what it may be is the list of kinds.
pub const KIND: &str = "kind";

/// Those beside [`KIND`].
pub static FIELDS: &[Field] = &[
    Field::optional(
        "name",
        Type::Line { most: MOST_NAME },
        text("Name of the job", "Имя задания"),
        text("What you call it, to find it again.", "Как вы его называете, чтобы найти снова."),
    ),
    Field::optional(
        "labels",
        Type::Labels { most: MOST_LABELS },
        text("Labels", "Метки"),
        text(
            "With name and labels you find the job again; the nodes that compute do not see them.",
            "По имени и меткам задание легко найти; узлы, которые считают, их не видят.",
        ),
    ),
    Field::optional(
        "requirements",
        Type::Object(REQUIREMENTS),
        text("Requirements", "Требования"),
        text("What a node must have to be given the job's tasks.", "Что должно быть у узла, чтобы он получал задачи."),
    ),
    Field::optional(
        "policy",
        Type::Object(POLICY),
        text("Policy", "Правила"),
        text("How the job wants to be treated.", "Как обращаться с заданием."),
    ),
];

/// Fields of `requirements`. Their defaults are those of [`crate::job::Requirements`].
pub static REQUIREMENTS: &[Field] = &[
    Field::optional(
        "cpu_percent",
        Type::Integer { least: 1, most: 100 },
        text("Share of a core, %", "Доля ядра, %"),
        text("Share of a core that a node must lend.", "Какую долю ядра должен отдавать узел."),
    )
    .or("1"),
    Field::optional(
        "ram_gb",
        Type::Fraction { most: MOST_MEMORY_MIB >> 10 },
        text("Memory of a task, GiB", "Память задачи, ГиБ"),
        text("Memory that a task may use.", "Сколько памяти может занять задача."),
    )
    .or("0.5"),
    Field::optional(
        "timeout_seconds",
        Type::Integer { least: 1, most: MOST_TIMEOUT_SECONDS as i64 },
        text("Longest attempt, seconds", "Предел попытки, секунд"),
        text(
            "Time after which an attempt is stopped; a node that does not answer is given up 9 seconds later. Of a program, only the part that ran out of it fails, when the retries are used up.",
            "Через сколько попытка останавливается; узел, который не отвечает, отпускают на 9 секунд позже. Из программы отпадает только часть, которой не хватило времени, когда повторы исчерпаны.",
        ),
    )
    .or("30"),
];

/// Words for [`Priority`].
pub const PRIORITIES: [(Choice, Priority); 4] = [
    (choice("normal", "normal", "обычная"), Priority::Normal),
    (choice("low", "low", "низкая"), Priority::Low),
    (choice("high", "high", "высокая"), Priority::High),
    (choice("critical", "critical", "срочная"), Priority::Critical),
];

/// Fields of `policy`. Their defaults are those of [`crate::job::Policy`].
pub static POLICY: &[Field] = &[
    Field::optional(
        "retries",
        Type::Integer { least: 0, most: MOST_RETRIES as i64 },
        text("Tries again after a failure", "Повторов после неудачи"),
        text(
            "How often a failed task is tried again; as often again on nodes that have delivered before, where it failed on others.",
            "Сколько раз повторять неудавшуюся задачу; ещё столько же — на узлах, уже приславших результаты, если она не удалась на других.",
        ),
    )
    .or("3"),
    Field::optional(
        "priority",
        Type::Choice(&choices(&PRIORITIES)),
        text("Priority", "Важность"),
        text("Its place among your other jobs.", "Место среди других ваших заданий."),
    )
    .or("normal"),
];
