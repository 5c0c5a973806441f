//! Texts of Jobs.

texts! {
    TITLE: "Your jobs", "Ваши задания";
    LEAD: "This tab leads its own jobs. Reloading it is fine: unfinished ones go on.",
        "Эта вкладка сама ведёт свои задания. Её можно перезагрузить: незаконченные продолжатся.";
    EMPTY: "No job yet.", "Заданий пока нет.";
    EMPTY_HINT: "Put everybody's processors to work: an example is filled in already.",
        "Запустите вычисление на процессорах всей сети: пример уже заполнен.";
    NEW: "New job", "Новое задание";
    LIST: "List of jobs", "Список заданий";
    CANCEL: "Cancel", "Отменить";
    REMOVE: "Remove", "Убрать";
    CANCEL_WHICH: "Cancel job {id}", "Отменить задание {id}";
    REMOVE_WHICH: "Remove job {id} from the list", "Убрать задание {id} из списка";
    PROGRESS: "Progress of job {id}", "Ход задания {id}";
    CREATED: "submitted {when}", "создано {when}";
    FINISHED: "ended {when}", "завершено {when}";
}
