//! Texts of How it works.

texts! {
    TITLE: "How it works", "Как это работает";
    LEAD: "p2pnet lets people give each other computing power without anybody in the middle.",
        "p2pnet позволяет людям отдавать друг другу вычислительную мощность без посредников.";
    LEND_TITLE: "Lending is opening a page", "Поделиться — это открыть страницу";
    LEND_TEXT: "Press Start on the first page. Your tab says to the network how many cores it lends; others send it small pieces of work. Close the tab and it is over: nothing stays installed.",
        "Нажмите «Начать» на первой странице. Вкладка сообщит сети, сколько ядер отдаёт, и ей пришлют небольшие порции работы. Закройте вкладку — и всё закончится: на устройстве ничего не остаётся.";
    USE_TITLE: "Using is filling in a form", "Воспользоваться — это заполнить форму";
    USE_TEXT: "Write a formula, drop a file or bring your own WebAssembly. Your own tab leads the job: it cuts the work by the measured speed of each node, sends it out, sends again what got lost, and puts the answers together.",
        "Напишите формулу, бросьте файл или принесите свой WebAssembly. Заданием руководит ваша вкладка: делит работу по измеренной скорости каждого узла, рассылает, повторяет потерянное и собирает ответы.";
    SAFE_TITLE: "What strangers' work can do to you", "Что чужая работа может сделать с вами";
    SAFE_TEXT: "Compute, and nothing else. Every task is WebAssembly without imports in a worker of the browser's own sandbox: no files, no network, no clock, bounded memory and time. Lending pauses on battery.",
        "Только считать. Любая задача — это WebAssembly без импортов в песочнице браузера: ни файлов, ни сети, ни часов, память и время ограничены. От батареи помощь приостанавливается.";
    SEEN_TITLE: "What others can see", "Что видят другие";
    SEEN_TEXT: "A node that computes for you sees the piece of input that it works on, and your address on the network. Do not send secrets. Results are not yet checked by repeating them on a second node: until that is built, trust them as far as you trust who lends.",
        "Узел, который считает для вас, видит свою порцию входных данных и ваш сетевой адрес. Не отправляйте секретов. Результаты пока не перепроверяются на втором узле: пока этого нет, доверяйте им настолько, насколько доверяете тем, кто делится.";
    NET_TITLE: "Who runs it", "Кто этим управляет";
    NET_TEXT: "Nobody. A seed node only introduces nodes to each other and serves this page. Anyone can run one with a single program.",
        "Никто. Опорный узел лишь знакомит узлы друг с другом и раздаёт эту страницу. Запустить свой может каждый: это одна программа.";
    GAS_TITLE: "What gas is", "Что такое газ";
    GAS_TEXT: "The exact count of the work that a task did. It is counted inside the task, so it is the same on a phone and on a server, and nobody can claim more than was done.",
        "Точный счёт работы, сделанной задачей. Он ведётся внутри самой задачи, поэтому одинаков на телефоне и на сервере, и никто не может приписать себе лишнего.";
    GO_DONATE: "Lend your processor", "Поделиться процессором";
    GO_NEW: "Start a job", "Запустить задание";
}
