//! Texts of New job.

texts! {
    TITLE: "New job", "Новое задание";
    LEAD: "Say what to compute. It is cut into tasks, spread over everyone who lends, and put together again.",
        "Опишите, что посчитать. Работа будет разделена на задачи, разойдётся по всем, кто делится мощностью, и соберётся обратно.";
    KIND: "Kind of job", "Вид задания";
    TAB_JSON: "JSON", "JSON";
    ABOUT_JSON: "The job as the API and the command line take it.", "Задание в том виде, в каком его принимают API и командная строка.";
    EXAMPLES: "Examples", "Примеры";
    EXAMPLE_AWAY: "The relay did not hand out the example.", "Узел не отдал пример.";
    TYPE_ITEMS: "Numbers apart by spaces, commas or lines, or a JSON list. A file can be dropped here: CSV, JSON or text.",
        "Числа через пробелы, запятые или с новой строки, либо список JSON. Сюда можно бросить файл: CSV, JSON или текст.";
    TYPE_MATRIX: "A row a line, numbers apart by spaces or commas; or JSON.", "Строка матрицы — в строке текста, числа через пробел или запятую; либо JSON.";
    TYPE_MODULE: "The module in base64; or drop a .wasm file here.",
        "Модуль в base64; либо бросьте сюда файл .wasm.";
    TYPE_BYTES: "Text, or drop any file here.", "Текст; можно бросить сюда любой файл.";
    TYPE_TEXTS: "One a line.", "По одному в строке.";
    TYPE_LABELS: "One a line, as team=physics.", "По одной в строке, например team=physics.";
    TYPE_INTEGERS: "Apart by commas.", "Через запятую.";
    DATA_FROM_FILE: "{name}, {size}", "{name}, {size}, из файла";
    DATA_FORGET: "Take the file out", "Убрать файл";
    DATA_BAD: "This is no number: {what}", "Это не число: {what}";
    DATA_NOT_LIST: "This is no JSON list.", "Это не список JSON.";
    FILE_CHOOSE: "Choose a file", "Выбрать файл";
    FILE_DROP: "or drop it here", "или бросьте его сюда";
    FILE_TOO_LARGE: "The file is {size}; at most {most} can be taken.", "Размер файла — {size}; можно не больше {most}.";
    FILE_UNREADABLE: "The file could not be read as text.", "Файл не удалось прочитать как текст.";
    JSON_TEXT: "Job as JSON", "Задание в JSON";
    NAMING: "Name and labels", "Имя и метки";
    ADVANCED: "Requirements and policy", "Требования и правила";
    CHECK_OK: "Ready to go.", "Можно отправлять.";
    READERS_AWAY: "What reads jobs did not arrive, so this one can be neither checked nor sent yet.",
        "Часть страницы, которая читает задания, не загрузилась: задание пока нельзя ни проверить, ни отправить.";
    TRY_AGAIN: "Try again", "Попробовать ещё раз";
    CHECKING: "Checking…", "Проверяем…";
    AT_CHARACTER: "at character {n}", "символ {n}";
    PREVIEW: "What will be sent", "Что будет отправлено";
    PREVIEW_CUT: "Only the beginning is shown; copying takes all of it.", "Показано только начало; копируется всё.";
    DRY_RUN: "Try it here", "Попробовать здесь";
    DRY_RUN_HELP: "Runs a few parts in this tab only, to see that the job does what you mean.",
        "Выполняет несколько частей только в этой вкладке, чтобы убедиться, что задание делает то, что нужно.";
    DRY_RUNNING: "Trying…", "Пробуем…";
    DRY_PARTS: "Parts tried", "Частей испробовано";
    DRY_RESULT: "Result", "Результат";
    DRY_GAS: "Gas", "Газ";
    DRY_GAS_WHOLE: "about {gas} for the whole job", "примерно {gas} на всё задание";
    DRY_SPEED: "Speed", "Скорость";
    DRY_SPEED_VALUE: "{n} parts/s on one core", "{n} частей/с на одном ядре";
    DRY_WHOLE: "Alone, this device would need about {time} for the whole.", "В одиночку это устройство считало бы всё примерно {time}.";
    SUBMIT: "Submit", "Отправить";
    SUBMITTING: "Submitting…", "Отправляем…";
    NOT_READY: "The node is still starting.", "Узел ещё запускается.";
}

plurals! {
    ITEMS: ["{n} item", "{n} items"], ["{n} элемент", "{n} элемента", "{n} элементов"];
}
