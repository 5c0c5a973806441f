//! Texts of Donate.

texts! {
    TITLE: "Lend your processor", "Поделитесь процессором";
    LEAD: "One press, and this tab computes for people who need it. It runs in a sandbox, sees none of your files, and stops when you say so.",
        "Одно нажатие — и эта вкладка считает для тех, кому это нужно. Всё идёт в песочнице, ваши файлы не видны, остановить можно в любой момент.";
    START: "Start", "Начать";
    STOP: "Stop", "Остановить";
    LEND: "Lend my processor", "Отдавать мощность моего процессора";
    ORB_OFF: "Off", "Выключено";
    ORB_PAUSED: "Paused", "Пауза";
    ORB_READY: "Ready", "Готов";
    ORB_STARTING: "Starting", "Запускается";
    ORB_UNABLE: "Cannot compute", "Не может считать";
    ORB_WORKING: "Computing", "Считает";
    CORES: "Cores", "Ядра";
    CORES_OF: "{n} of {all}", "{n} из {all}";
    SHARE: "Share of their time", "Доля их времени";
    SHARE_HELP: "A lower share keeps the device cool and quiet.", "Чем меньше доля, тем тише и холоднее устройство.";
    IDLE_SWITCHED_OFF: "Lending is off. Press the button to begin.", "Сейчас вы не делитесь. Нажмите кнопку, чтобы начать.";
    IDLE_ON_BATTERY: "Paused, because this device runs on battery.", "Пауза: устройство работает от батареи.";
    IDLE_NOT_CONNECTED: "Waiting for the connection to the network.", "Ждём соединения с сетью.";
    IDLE_NO_WORK: "Ready. Nobody needs power right now; keep the tab open, work arrives by itself.",
        "Всё готово. Сейчас мощность никому не нужна; не закрывайте вкладку, работа придёт сама.";
    IDLE_STARTING: "The node is starting.", "Узел запускается.";
    IDLE_WISHED: "The node is starting; it lends as soon as it is up.", "Узел запускается и начнёт делиться, как только будет готов.";
    IDLE_NO_WORKERS: "Nothing is offered, because this browser starts no workers. Press Stop and Start to try again.",
        "Ничего не предлагается: браузер не запускает фоновые потоки. Чтобы попробовать снова, остановите и начните.";
    WORKING_FOR: "Computing {tasks} for {people}.", "Считаем {tasks} для {people}.";
    BATTERY_BANNER: "On battery: lending is paused to spare it. It resumes by itself when you plug the device in.",
        "Питание от батареи: чтобы её беречь, помощь приостановлена. Она продолжится сама, когда вы подключите питание.";
    BATTERY_OVERRIDE: "Lend anyway", "Всё равно делиться";
    BATTERY_OVERRIDDEN: "On battery, lending all the same.", "Питание от батареи, но помощь продолжается.";
    BATTERY_PAUSE: "Pause on battery", "Приостановить от батареи";
    NOW: "Running now", "Сейчас выполняется";
    NOW_EMPTY: "Nothing runs at the moment.", "Сейчас ничего не выполняется.";
    FOR_WHOM: "For", "Для кого";
    FOR_YOURSELF: "yourself", "для себя";
    JOB: "Job", "Задание";
    TASKS_HEAD: "Tasks", "Задачи";
    SINCE: "Since", "Начато";
    FETCHING: "fetching data", "получает данные";
    RESTING: "set aside for others", "уступает другим";
    QUEUED: "Waiting in the queue: {n}", "В очереди: {n}";
    DONE: "Done since this tab opened", "Сделано с открытия вкладки";
    DONE_TASKS: "tasks computed", "задач посчитано";
    DONE_GAS: "gas", "газа";
    DONE_TIME: "of processor time", "времени процессора";
    GAS_WHAT: "Gas counts the work itself, step by step, the same on every machine: a fast and a slow device get the same for the same task.",
        "Газ считает саму работу, шаг за шагом, одинаково на любой машине: быстрое и медленное устройство получают за одну задачу поровну.";
    SETTINGS: "How much to lend", "Сколько отдавать";
}

plurals! {
    TASKS: ["{n} task", "{n} tasks"], ["{n} задача", "{n} задачи", "{n} задач"];
    TASKS_ACCUSATIVE: ["{n} task", "{n} tasks"], ["{n} задачу", "{n} задачи", "{n} задач"];
    PEOPLE: ["{n} node", "{n} nodes"], ["{n} узла", "{n} узлов", "{n} узлов"];
    CORES_COUNT: ["{n} core", "{n} cores"], ["{n} ядро", "{n} ядра", "{n} ядер"];
}
