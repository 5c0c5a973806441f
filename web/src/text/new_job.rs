//! Texts of New job.

texts! {
    TITLE: "New job", "Новое задание";
    LEAD: "Say what to compute. It is cut into tasks, spread over everyone who lends, and put together again.",
        "Опишите, что посчитать. Работа будет разделена на задачи, разойдётся по всем, кто делится мощностью, и соберётся обратно.";
    KIND: "Kind of job", "Вид задания";
    TAB_JSON: "JSON", "JSON";
    ABOUT_RANGE: "Every whole number from start to end, both included, goes through your formula; what remains is reduced to one value.",
        "Каждое целое от начала до конца включительно проходит через вашу формулу; остаток сворачивается в одно значение.";
    ABOUT_MAP: "Every item of a list goes through your formula; the list of answers comes back in order.",
        "Каждый элемент списка проходит через вашу формулу; ответы возвращаются списком в том же порядке.";
    ABOUT_MAP_REDUCE: "Every item goes through your formula; the answers are reduced to one value.",
        "Каждый элемент проходит через вашу формулу; ответы сворачиваются в одно значение.";
    ABOUT_MATRIX: "Matrices are cut into blocks, computed on several nodes and put together.",
        "Матрицы режутся на блоки, считаются на нескольких узлах и собираются обратно.";
    ABOUT_KERNEL: "Your own WebAssembly: a pure function from bytes to bytes that exports memory, alloc and run, and imports nothing.",
        "Ваш собственный модуль WebAssembly: чистая функция из байтов в байты; экспортирует memory, alloc и run, ничего не импортирует.";
    ABOUT_COMMAND: "A program compiled to wasm32-wasip1 that reads standard input and writes standard output.",
        "Программа, собранная под wasm32-wasip1: читает стандартный ввод и пишет в стандартный вывод.";
    ABOUT_JSON: "The job as the API and the command line take it.", "Задание в том виде, в каком его принимают API и командная строка.";
    EXAMPLES: "Examples", "Примеры";
    EXAMPLE_SUM: "Sum of 1…10,000,000", "Сумма 1…10 000 000";
    EXAMPLE_PRIMES: "Primes up to 1,000,000", "Простые до 1 000 000";
    EXAMPLE_ROOTS: "Average square root", "Средний квадратный корень";
    EXAMPLE_SQUARES: "Squares", "Квадраты";
    EXAMPLE_PARITY: "Halve or triple", "Пополам или втрое";
    EXAMPLE_TEXTS: "Texts", "Тексты";
    EXAMPLE_PRODUCT: "Product of matrices", "Произведение матриц";
    EXAMPLE_RANDOM: "Random 96 × 96", "Случайные 96 × 96";
    EXAMPLE_INVERSE: "Inverse", "Обратная";
    EXAMPLE_LARGEST: "Largest remainder", "Наибольший остаток";
    EXAMPLE_UPPER: "Upper case, line by line", "Прописные буквы по строкам";
    EXAMPLE_SWAP: "Swap case, line by line", "Поменять регистр по строкам";
    EXAMPLE_FREQUENCIES: "Frequent words (Rust)", "Частые слова (Rust)";
    EXAMPLE_STATISTICS: "Statistics (C)", "Статистика (C)";
    EXAMPLE_DARTS: "Pi by darts (Zig)", "Число пи дротиками (Zig)";
    EXAMPLE_SURROUNDINGS: "What a program finds (C)", "Что видит программа (C)";
    EXAMPLE_AWAY: "The relay did not hand out the example.", "Узел не отдал пример.";
    START: "Start", "Начало";
    END: "End (included)", "Конец (включительно)";
    MAP: "Formula in x", "Формула от x";
    WHERE: "Only where", "Только если";
    WHERE_HELP: "May stay empty.", "Можно оставить пустым.";
    FORMULA_HELP: "+ - * / // % ** · == != < <= > >= · and or not · if(c, a, b) · abs min max floor ceil round sqrt gcd is_prime sin cos tan exp ln log10 pow pi · let y = x*x; y + 1 · texts: upper lower len trim replace contains",
        "+ - * / // % ** · == != < <= > >= · and or not · if(c, a, b) · abs min max floor ceil round sqrt gcd is_prime sin cos tan exp ln log10 pow pi · let y = x*x; y + 1 · для текстов: upper lower len trim replace contains";
    REDUCE: "Reduce to", "Свернуть в";
    REDUCE_SUM: "sum", "сумма";
    REDUCE_PRODUCT: "product", "произведение";
    REDUCE_MIN: "smallest", "наименьшее";
    REDUCE_MAX: "largest", "наибольшее";
    REDUCE_COUNT: "count", "количество";
    REDUCE_AVERAGE: "average", "среднее";
    DATA: "Data", "Данные";
    DATA_HELP: "Numbers apart by spaces, commas or lines, or a JSON list. A file can be dropped here: CSV, JSON or text.",
        "Числа через пробелы, запятые или с новой строки, либо список JSON. Сюда можно бросить файл: CSV, JSON или текст.";
    DATA_FROM_FILE: "{name}, {size}", "{name}, {size}, из файла";
    DATA_FORGET: "Take the file out", "Убрать файл";
    DATA_BAD: "This is no number: {what}", "Это не число: {what}";
    DATA_NOT_LIST: "This is no JSON list.", "Это не список JSON.";
    FILE_CHOOSE: "Choose a file", "Выбрать файл";
    FILE_DROP: "or drop it here", "или бросьте его сюда";
    FILE_TOO_LARGE: "The file is {size}; at most {most} can be taken.", "Размер файла — {size}; можно не больше {most}.";
    FILE_UNREADABLE: "The file could not be read as text.", "Файл не удалось прочитать как текст.";
    OPERATION: "Operation", "Операция";
    OP_ADD: "A + B", "A + B (сложение)";
    OP_SUBTRACT: "A − B", "A − B (вычитание)";
    OP_MULTIPLY: "A × B", "A × B (умножение)";
    OP_TRANSPOSE: "Transpose of A", "Транспонировать A";
    OP_DETERMINANT: "Determinant of A", "Определитель A";
    OP_INVERSE: "Inverse of A", "Обратная к A";
    OP_EIGENVALUES: "Eigenvalues of A (symmetric)", "Собственные значения A (симметричной)";
    OP_LU: "LU decomposition of A", "LU-разложение A";
    OP_QR: "QR decomposition of A", "QR-разложение A";
    MATRIX_A: "Matrix A", "Матрица A";
    MATRIX_B: "Matrix B", "Матрица B";
    MATRIX_HELP: "A row a line, numbers apart by spaces or commas; or JSON.", "Строка матрицы — в строке текста, числа через пробел или запятую; либо JSON.";
    KERNEL: "Kernel (.wasm)", "Модуль (.wasm)";
    KERNEL_HELP: "The module in base64; or drop a .wasm file here.",
        "Модуль в base64; либо бросьте сюда файл .wasm.";
    INPUT: "Input", "Ввод";
    INPUT_HELP: "Text, or drop any file here.", "Текст; можно бросить сюда любой файл.";
    SPLIT: "Cut the input", "Разделить ввод";
    SPLIT_LINES: "by lines", "по строкам";
    SPLIT_BYTES: "by blocks of bytes", "по блокам байтов";
    SPLIT_JSON: "by items of a JSON list", "по элементам списка JSON";
    SPLIT_NONE: "not at all", "не делить";
    SPLIT_BLOCK: "Bytes in a block", "Байтов в блоке";
    MERGE: "Put together", "Собрать";
    MERGE_CONCAT: "one after another", "одно за другим";
    MERGE_KERNEL: "by the kernel itself", "самим модулем";
    MODULE: "Program (.wasm)", "Программа (.wasm)";
    ARGS: "Arguments, one a line", "Аргументы, по одному в строке";
    OK_EXIT_CODES: "Exit codes that are no failure", "Коды завершения, которые не считаются ошибкой";
    OK_EXIT_CODES_HELP: "Apart by commas; only 0 when empty.", "Через запятую; если пусто, то только 0.";
    JSON_TEXT: "Job as JSON", "Задание в JSON";
    NAMING: "Name and labels", "Имя и метки";
    NAME: "Name of the job", "Имя задания";
    LABELS: "Labels", "Метки";
    LABELS_HELP: "One a line, as team=physics. With name and labels you find the job again; the nodes that compute do not see them.",
        "По одной в строке, например team=physics. По имени и меткам задание легко найти; узлы, которые считают, их не видят.";
    ADVANCED: "Requirements and policy", "Требования и правила";
    CPU_PERCENT: "Share of a core, %", "Доля ядра, %";
    RAM: "Memory of a task, GiB", "Память задачи, ГиБ";
    TIMEOUT: "Longest attempt, seconds", "Предел попытки, секунд";
    PRIORITY: "Priority", "Важность";
    PRIORITY_LOW: "low", "низкая";
    PRIORITY_NORMAL: "normal", "обычная";
    PRIORITY_HIGH: "high", "высокая";
    PRIORITY_CRITICAL: "critical", "срочная";
    RETRIES: "Tries again after a failure", "Повторов после неудачи";
    CHECK_OK: "Ready to go.", "Можно отправлять.";
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
