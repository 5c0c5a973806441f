//! Texts of Network.

texts! {
    TITLE: "The network", "Сеть";
    LEAD: "What this node sees: whom it is connected to, how, and who lends.", "Что видно с этого узла: с кем он соединён, как именно и кто отдаёт мощность.";
    DRAWING: "Drawing of the nodes and links", "Рисунок узлов и связей";
    DRAWING_ALT: "This node in the middle; the table below says the same in words.", "В центре — этот узел; то же словами — в таблице ниже.";
    ALONE: "Nobody else is in sight yet.", "Пока больше никого не видно.";
    ALONE_HINT: "Open this page on another device or in another browser to see it appear here.",
        "Откройте эту страницу на другом устройстве или в другом браузере — она появится здесь.";
    MORE: "and {n} more", "и ещё {n}";
    TABLE: "Nodes", "Узлы";
    NODE: "Node", "Узел";
    ROLE: "Role", "Роль";
    LINK: "Link", "Связь";
    CIRCUIT: "circuit", "через узел";
    TRANSPORT: "Transport", "Транспорт";
    ROUND_TRIP: "Round trip", "Туда и обратно";
    LENDS: "Lends", "Отдаёт";
    LENDS_CORES: "{cores}, {busy} busy, {share} %", "{cores}, занято {busy}, {share} %";
    LENDS_NOTHING: "nothing", "ничего";
    AGENT: "Software", "Программа";
    ROLE_SEED: "seed", "опорный";
    ROLE_PUBLIC: "public", "открытый";
    ROLE_CLIENT: "client", "клиент";
    ROLE_SPECIALISED: "specialised", "особый";
    ROLE_UNKNOWN: "not said yet", "ещё не сообщил";
    PATH_DIRECT: "direct", "прямая";
    PATH_RELAYED: "relayed", "через посредника";
    PATH_RELAYED_VIA: "relayed by {node}", "через {node}";
    PATH_NONE: "known by its offer", "известен по предложению";
    THIS_NODE: "you", "вы";
    LEGEND_DIRECT: "direct link", "прямая связь";
    LEGEND_RELAYED: "relayed link", "связь через узел";
    LEGEND_OFFER: "known by its offer", "известен по предложению";
    LEGEND_LOAD: "ring: cores busy", "кольцо: занятые ядра";
    YOUR_ID: "Your node id", "Имя вашего узла";
}

plurals! {
    NOT_UNDERSTOOD: [
        "{n} record of this browser's storage is damaged, or a newer version of this page wrote it. It is left as it is.",
        "{n} records of this browser's storage are damaged, or a newer version of this page wrote them. They are left as they are."
    ], [
        "{n} запись в хранилище этого браузера повреждена или сделана более новой версией страницы. Она оставлена как есть.",
        "{n} записи в хранилище этого браузера повреждены или сделаны более новой версией страницы. Они оставлены как есть.",
        "{n} записей в хранилище этого браузера повреждены или сделаны более новой версией страницы. Они оставлены как есть."
    ];
    NODES: ["{n} node in sight", "{n} nodes in sight"], ["Виден {n} узел", "Видно {n} узла", "Видно {n} узлов"];
    CORES: ["{n} core lent", "{n} cores lent"], ["отдано {n} ядро", "отдано {n} ядра", "отдано {n} ядер"];
}
