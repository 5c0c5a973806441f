//! One short sentence a refusal code, in both languages. The refusal's own message (English) stands below it.

use p2pnet_shared::refusal::Code;

use super::Text;

macro_rules! codes {
    ($($variant:ident $name:ident: $english:literal, $russian:literal;)*) => {
        texts! { $($name: $english, $russian;)* }
        /// The sentence for a code.
        pub fn of(code: Code) -> Text {
            match code { $(Code::$variant => $name,)* }
        }
    };
}

codes! {
    InvalidJson INVALID_JSON: "This is not valid JSON", "Это не JSON или он написан с ошибкой";
    UnknownKind UNKNOWN_KIND: "No such kind of job", "Такого вида заданий нет";
    UnknownField UNKNOWN_FIELD: "A field that this kind does not have", "У этого вида заданий нет такого поля";
    MissingField MISSING_FIELD: "A field is missing", "Не хватает поля";
    InvalidField INVALID_FIELD: "A field has a value that cannot be used", "Значение поля не подходит";
    InvalidFormula INVALID_FORMULA: "The formula has a mistake", "В формуле ошибка";
    EmptyInput EMPTY_INPUT: "There is nothing to compute", "Считать нечего";
    RaggedMatrix RAGGED_MATRIX: "The rows of the matrix differ in length", "Строки матрицы разной длины";
    MismatchedMatrix MISMATCHED_MATRIX: "The sizes of the matrices do not fit", "Размеры матриц не подходят друг другу";
    SingularMatrix SINGULAR_MATRIX: "The matrix has no inverse", "У матрицы нет обратной";
    InvalidNumber INVALID_NUMBER: "A number does not fit", "Число не подходит";
    TooLarge TOO_LARGE: "Too large", "Слишком большой объём";
    InvalidKernel INVALID_KERNEL: "This is no kernel that can run", "Этот модуль не может быть выполнен";
    KernelImports KERNEL_IMPORTS: "The kernel imports something; it may not", "Модуль что-то импортирует, а это запрещено";
    UnknownKernel UNKNOWN_KERNEL: "This kernel is not known here", "Этот модуль здесь неизвестен";
    KernelTrapped KERNEL_TRAPPED: "The kernel stopped with an error", "Модуль остановился с ошибкой";
    OutOfMemory OUT_OF_MEMORY: "The task wanted more memory than it may use", "Задаче не хватило разрешённой памяти";
    StackOverflow STACK_OVERFLOW: "The task recursed too deep", "Слишком глубокая рекурсия в задаче";
    TimedOut TIMED_OUT: "The task ran too long", "Задача выполнялась слишком долго";
    IntegerOverflow INTEGER_OVERFLOW: "A whole number became too large", "Целое число стало слишком большим";
    DivisionByZero DIVISION_BY_ZERO: "Division by zero", "Деление на ноль";
    KernelError KERNEL_ERROR: "The kernel reported an error", "Модуль сообщил об ошибке";
    RetriesExhausted RETRIES_EXHAUSTED: "A task failed on every node that tried it", "Задача не удалась ни на одном узле";
    MergeFailed MERGE_FAILED: "The answers could not be put together", "Ответы не удалось собрать вместе";
    NoProvider NO_PROVIDER: "No node took the job in time", "Ни один узел вовремя не взял задание";
    TooManyJobs TOO_MANY_JOBS: "This node has as many jobs as it can hold", "У этого узла уже предельное число заданий";
    UnknownJob UNKNOWN_JOB: "No job has this name", "Такого задания нет";
    NotFinished NOT_FINISHED: "The job has no result yet", "Результата пока нет";
    NoResult NO_RESULT: "The job ended without a result", "Задание закончилось без результата";
    NotFound NOT_FOUND: "There is no such page", "Такой страницы нет";
    MethodNotAllowed METHOD_NOT_ALLOWED: "This address does not do that", "Этот адрес такого не умеет";
    RateLimited RATE_LIMITED: "Too many requests; wait a little", "Слишком много запросов; подождите немного";
    IdempotencyConflict IDEMPOTENCY_CONFLICT: "The same key was sent with another job", "Тот же ключ прислан с другим заданием";
    Internal INTERNAL: "A fault of this node", "Сбой на этом узле";
    ShuttingDown SHUTTING_DOWN: "This node is stopping", "Узел завершает работу";
    StoreFull STORE_FULL: "The disk of this node is full", "На диске этого узла нет места";
    StoreFailed STORE_FAILED: "This node cannot keep jobs now", "Этот узел сейчас не может сохранять задания";
    UnsupportedEncoding UNSUPPORTED_ENCODING: "This encoding of a request is not taken", "Запрос в такой кодировке не принимается";
    BodyTooSlow BODY_TOO_SLOW: "The data came too slowly", "Данные приходили слишком медленно";
    UnsupportedContentType UNSUPPORTED_CONTENT_TYPE: "This content type is not taken", "Данные такого типа не принимаются";
    ForeignOrigin FOREIGN_ORIGIN: "This web page may not use the relay", "Этой странице нельзя обращаться к ретранслятору";
    UnknownHost UNKNOWN_HOST: "The relay does not know itself by this name", "Ретранслятор не знает себя под этим именем";
    InvalidToken INVALID_TOKEN: "The token cannot be used", "Этот токен не подходит";
    UpgradeRequired UPGRADE_REQUIRED: "This address is for WebSockets only", "Этот адрес только для WebSocket";
}
