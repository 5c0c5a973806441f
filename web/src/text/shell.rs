//! Texts of the frame around every page.

texts! {
    SKIP: "Skip to the content", "Перейти к содержанию";
    NAVIGATION: "Pages", "Страницы";
    NAV_DONATE: "Donate", "Поделиться";
    NAV_JOBS: "Jobs", "Задания";
    NAV_NEW_JOB: "New job", "Новое";
    NAV_NETWORK: "Network", "Сеть";
    NAV_ABOUT: "About", "О сети";
    CONNECTED: "Connected", "На связи";
    CONNECTING: "Connecting…", "Соединяемся…";
    STARTING: "Starting…", "Запускаемся…";
    CONNECTING_WHY: "No seed node answers yet. The page keeps trying; jobs and settings are safe meanwhile.",
        "Ни один опорный узел пока не отвечает. Страница продолжает попытки; задания и настройки сохраняются.";
    SEED_NEWER: "The relay speaks a newer version of p2pnet than this page, so the two do not understand each other. What runs here goes on as far as it can without it. Reload to join again.",
        "Сервер-посредник говорит на более новой версии p2pnet, чем эта страница, и они не понимают друг друга. Начатое здесь продолжается, насколько возможно без него. Перезагрузите страницу, чтобы снова войти в сеть.";
    SEED_OLDER: "The relay speaks an older version of p2pnet than this page, so the two do not understand each other. Whoever runs it has to update it. Reload to try again.",
        "Сервер-посредник говорит на более старой версии p2pnet, чем эта страница, и они не понимают друг друга. Его нужно обновить тому, кто его запустил. Перезагрузите страницу, чтобы попробовать снова.";
    NO_WORKERS: "This browser starts no workers, so nothing can be computed in this tab.",
        "Браузер не запускает фоновые потоки, поэтому в этой вкладке ничего нельзя считать.";
    NO_INTERPRETER: "A part of this page did not arrive, so a few kernels cannot be run in this tab; it is asked for again with the next of them.",
        "Часть страницы не загрузилась: некоторые модули эта вкладка пока не может выполнять; со следующим из них она попробует снова.";
    PAUSED_JOBS: "What reads jobs did not arrive, so your unfinished jobs rest in this browser. Reload the page to go on with them.",
        "Часть страницы, которая читает задания, не загрузилась: незаконченные задания ждут в этом браузере. Перезагрузите страницу, чтобы продолжить их.";
    TRY_AGAIN: "Try again", "Попробовать ещё раз";
    NOTHING_KEPT: "This browser keeps nothing for this page: jobs and settings last only as long as the tab.",
        "Браузер ничего не сохраняет для этой страницы: задания и настройки живут, пока открыта вкладка.";
    KEPT_BLOCKED: "Another tab of p2pnet is of another version: close it and reload.",
        "Открыта другая вкладка p2pnet другой версии: закройте её и обновите страницу.";
    KEPT_NO_ANSWER: "Its database does not answer. Reload, or restart the browser.",
        "База данных браузера не отвечает. Обновите страницу или перезапустите браузер.";
    KEPT_TOO_MANY_TABS: "Too many tabs of p2pnet are open.", "Открыто слишком много вкладок p2pnet.";
    LANGUAGE: "Language", "Язык";
    THEME_AUTO: "Theme: as the device", "Тема: как на устройстве";
    THEME_LIGHT: "Theme: light", "Тема: светлая";
    THEME_DARK: "Theme: dark", "Тема: тёмная";
    START_FAILED: "This page could not start its node", "Страница не смогла запустить свой узел";
    START_FAILED_HINT: "Reload the page. If that does not help, try a current Firefox, Chrome, Edge or Safari outside a private window.",
        "Перезагрузите страницу. Если не поможет, откройте её в свежем Firefox, Chrome, Edge или Safari вне приватного окна.";
    RELOAD: "Reload", "Перезагрузить";
    NOT_FOUND: "There is no such page", "Такой страницы нет";
    NOT_FOUND_HOME: "Go to the start", "На главную";
    COPY: "Copy", "Скопировать";
    COPIED: "Copied", "Скопировано";
    COPY_FAILED: "The browser did not allow copying", "Браузер не разрешил копирование";
    DOWNLOAD: "Download", "Скачать";
    HINT: "What to do", "Что делать";
    FOOTER: "Free software. No money, no accounts, nobody in the middle.", "Свободная программа. Без денег, без учётных записей, без посредников.";
    MILLISECONDS: "{n} ms", "{n} мс";
    SECONDS: "{n} s", "{n} с";
    MINUTES: "{n} min", "{n} мин";
    HOURS: "{n} h", "{n} ч";
    DAYS: "{n} d", "{n} дн";
    BYTES: "{n} B", "{n} Б";
    KIBIBYTES: "{n} KiB", "{n} КиБ";
    MEBIBYTES: "{n} MiB", "{n} МиБ";
    GIBIBYTES: "{n} GiB", "{n} ГиБ";
    NOW: "just now", "только что";
}
