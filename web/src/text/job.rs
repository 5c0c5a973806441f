//! Texts of Job, and the words for states and reasons.

texts! {
    TITLE: "Job: {kind}", "Задание: {kind}";
    BACK: "All jobs", "Все задания";
    UNKNOWN: "This node has no job with that name.", "На этом узле нет такого задания.";
    UNKNOWN_HINT: "It may have been removed, or was submitted in another browser.",
        "Возможно, его убрали из списка или создали в другом браузере.";
    LOADING: "Reading…", "Читаем…";
    QUEUED: "Queued", "В очереди";
    RUNNING: "Running", "Выполняется";
    VERIFYING: "Verifying", "Проверяется";
    COMPLETED: "Completed", "Готово";
    FAILED: "Failed", "Не удалось";
    CANCELLED: "Cancelled", "Отменено";
    EXPIRED: "Expired", "Срок истёк";
    ATTEMPT_ASSIGNED: "assigned", "назначена";
    ATTEMPT_FETCHING: "fetching", "получает данные";
    ATTEMPT_RUNNING: "running", "выполняется";
    ATTEMPT_DELIVERED: "delivered", "доставлена";
    ATTEMPT_ACCEPTED: "accepted", "принята";
    ATTEMPT_REJECTED: "rejected", "отклонена";
    ATTEMPT_LOST: "lost", "потеряна";
    ATTEMPT_RESTING: "set aside for others", "уступила другим";
    WAIT_NOT_CONNECTED: "Waits for the connection to the network.", "Ждёт соединения с сетью.";
    WAIT_NO_PROVIDERS: "No node lends its processor right now. Open the page on another device and press Start, or donate in this tab.",
        "Сейчас никто не отдаёт процессор. Откройте страницу на другом устройстве и нажмите «Начать» или поделитесь в этой вкладке.";
    LEND_HERE: "Lend in this tab", "Поделиться в этой вкладке";
    WAIT_NONE_MEETS: "Nodes are there, but none meets the requirements. Ask for less memory or a smaller share.",
        "Узлы есть, но ни один не подходит под требования. Попросите меньше памяти или меньшую долю.";
    WAIT_ALL_BUSY: "All nodes are busy with other work; tasks go out as soon as one is free.",
        "Все узлы заняты другой работой; задачи уйдут, как только кто-то освободится.";
    WAIT_RETRYING: "A task failed and will be tried again {when}.", "Одна задача не удалась, повтор {when}.";
    PROGRESS: "Progress", "Ход работы";
    PROGRESS_TEXT: "{done} of {all} done, {running} running now", "готово {done} из {all}, сейчас выполняется {running}";
    PROGRESS_OVER: "{done} of {all} done", "готово {done} из {all}";
    REMAINING: "about {time} left", "осталось примерно {time}";
    TOOK: "took {time}", "заняло {time}";
    WAITED: "waited {time}", "ожидание {time}";
    RAN: "ran {time}", "выполнение {time}";
    GAS: "{gas} gas", "{gas} газа";
    GAS_TO_PREPARE: "{gas} gas to prepare", "{gas} газа на подготовку";
    RESULT: "Result", "Результат";
    PARTIAL: "Result so far", "Результат на сейчас";
    RESULT_CUT: "The beginning is shown: {shown} of {all}. Copy and download give all of it.",
        "Показано начало: {shown} из {all}. Копирование и скачивание отдают всё.";
    RESULT_FAILED: "Parts that failed", "Части с ошибкой";
    FAILED_PART: "Part", "Часть";
    FAILED_CODE: "Exit code", "Код завершения";
    FAILED_WHY: "Reason", "Причина";
    FAILED_CUT: "The end is shown; there was more.", "Показан конец; было и ещё.";
    FAILED_BYTES: "Bytes that are no text are shown as �.", "Байты, которые не текст, показаны как �.";
    FAILED_SHOWN: "The first {shown} of {all}.", "Первые {shown} из {all}.";
    RESULT_ERRORS: "Standard error", "Стандартный поток ошибок";
    ERRORS_CUT: "Beginning and end were kept; {size} between them were not.",
        "Сохранены начало и конец, а между ними пропущено {size}.";
    ERRORS_BYTES: "Not all of it is text: other bytes are shown as �. The file holds them as they were written.",
        "Здесь не только текст: прочие байты показаны как �. В файле они такие, какими были записаны.";
    RESULT_AS_TEXT: "As text", "Как текст";
    RESULT_AS_SENT: "As sent (base64)", "Как передано (base64)";
    RESULT_NONE: "The result appears here.", "Здесь появится результат.";
    RESULT_READING: "Reading the result…", "Читаем результат…";
    CANCEL: "Cancel job", "Отменить задание";
    REMOVE: "Remove", "Убрать";
    AGAIN: "Run again", "Запустить снова";
    CHANGE: "Change and run", "Изменить и запустить";
    MAP: "Map of the tasks", "Карта задач";
    MAP_HELP: "Every square is a part of the work; its colour is the node that did it.",
        "Каждый квадрат — часть работы; его цвет — узел, который её сделал.";
    MAP_BY_NODE: "Colour by node", "Цвет по узлам";
    MAP_BY_STATE: "Colour by state", "Цвет по состоянию";
    MAP_ALT: "{done} percent done, {running} percent running, {failed} percent to be tried again, {rest} percent still waiting.",
        "Готово {done} процентов, выполняется {running} процентов, ждёт повтора {failed} процентов, ещё не начато {rest} процентов.";
    LEGEND_WAITING: "waiting", "ждёт";
    LEGEND_SENT: "sent", "отправлено";
    LEGEND_RUNNING: "running", "выполняется";
    LEGEND_DONE: "done", "готово";
    LEGEND_AGAIN: "to be tried again", "будет повторено";
    NODES: "Who computed", "Кто считал";
    NODES_NONE: "No task has come back yet.", "Ни одна задача ещё не вернулась.";
    NODE: "Node", "Узел";
    UNITS: "Parts", "Частей";
    TASKS: "Tasks", "Задач";
    GAS_HEAD: "Gas", "Газ";
    ATTEMPTS: "Attempts", "Попытки";
    ATTEMPTS_SHOWN: "The newest {shown} of {all}.", "Последние {shown} из {all}.";
    ATTEMPT: "Attempt", "Попытка";
    STATE: "State", "Состояние";
    ENGINE: "Engine", "Движок";
    ENGINE_WASMI: "wasmi (interpreter)", "wasmi (интерпретатор)";
    ENGINE_BROWSER: "the browser's compiler", "компилятор браузера";
    ENGINE_WASMTIME: "wasmtime (compiler)", "wasmtime (компилятор)";
    TIME: "Time", "Время";
    SOURCE: "What was submitted", "Что было отправлено";
    THIS_NODE: "this node", "этот узел";
}

plurals! {
    COMPLETED_BUT: ["Completed, {n} part failed", "Completed, {n} parts failed"],
        ["Готово, не удалась {n} часть", "Готово, не удались {n} части", "Готово, не удалось {n} частей"];
    WAIT_CONNECTING: ["Connecting to {n} node.", "Connecting to {n} nodes."],
        ["Соединяемся с {n} узлом.", "Соединяемся с {n} узлами.", "Соединяемся с {n} узлами."];
    WAIT_OTHER_VERSIONS: ["{n} node is there, but of another version of p2pnet, which runs kernels differently.", "{n} nodes are there, but of another version of p2pnet, which runs kernels differently."],
        ["Есть {n} узел, но другой версии p2pnet: она выполняет программы иначе.", "Есть {n} узла, но другой версии p2pnet: она выполняет программы иначе.", "Есть {n} узлов, но другой версии p2pnet: она выполняет программы иначе."];
    WAIT_TASKS_RUNNING: ["The last batch is running: {n}.", "The last batches are running: {n}."],
        ["Выполняется последняя {n} порция.", "Выполняются последние {n} порции.", "Выполняются последние {n} порций."];
    BY_NODES: ["on {n} node", "on {n} nodes"], ["на {n} узле", "на {n} узлах", "на {n} узлах"];
}
