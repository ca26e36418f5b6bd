"""What the terminal says about the pictures of a run."""

from pathlib import Path

from pictures.checks import Finding
from pictures.copy_names import copy_name
from pictures.manifest import EXCLUDED, KEPT, SKIPPED, TRAIN, VALIDATION, Picture
from pictures.report import describe_changes, finding_lines, print_reasons, print_table, print_totals


def picture(name: str, **values) -> Picture:
    return Picture(**{"class_name": name[:3], "source": name, "path": f"rawdata/{name}", "status": KEPT} | values)


COPY = copy_name("ant/1.jpg", "0" * 64, 0)
PICTURES = [
    picture("bee/1.jpg", split=TRAIN),
    picture("bee/2.jpg", split=VALIDATION),
    picture("ant/1.jpg", split=TRAIN, sha256="new"),
    picture("ant/2.jpg", split=TRAIN, shape="20x20x3"),
    picture("ant/3.jpg", split=VALIDATION),
    picture("ant/4.jpg", status=SKIPPED, reason="the file is empty"),
    picture(COPY, source="ant/1.jpg", split=TRAIN),
]
EXCLUDED_COPY = picture(
    copy_name("ant/3.jpg", "0" * 64, 0), source="ant/3.jpg", status=EXCLUDED, reason="its source is used for validation"
)


def test_print_table_counts_the_pictures_of_each_class(capsys):
    print_table([*PICTURES, EXCLUDED_COPY])
    assert capsys.readouterr().out.splitlines() == [
        "class                   kept   train  valid.  copies skipped excluded",
        "ant                        4       3       1       1       1        1",
        "bee                        2       1       1       0       0        0",
    ]


def test_print_table_keeps_its_columns_below_each_other(capsys):
    print_table([picture("a.jpg", class_name=name, split=TRAIN) for name in ("name of 21 characters", "小猫")])
    _, *rows = capsys.readouterr().out.splitlines()
    assert rows == [
        "name of 21 characte…       1       1       0       0       0        0",
        "小猫                       1       1       0       0       0        0",
    ]


def test_print_totals_says_how_many_there_are_and_what_for(capsys):
    print_totals(PICTURES, Path("a\tb"), "1 new")
    print_totals([*PICTURES, EXCLUDED_COPY, picture(COPY, source="ant/1.jpg", split=TRAIN)], Path("images"))
    assert capsys.readouterr().out.splitlines() == [
        "a\\tb/      6 pictures, 2 classes: ant 4, bee 2 (1 new)",
        "           4 to train, 2 to validate, 1 copy, 1 skipped",
        "images/    7 pictures, 2 classes: ant 5, bee 2",
        "           5 to train, 2 to validate, 2 copies, 1 skipped, 1 excluded",
    ]


def test_print_totals_names_up_to_six_classes_and_three_of_more(capsys):
    rows = [picture(f"{number}/1.jpg", split=TRAIN) for number in range(100, 250)]
    print_totals(rows[:6], Path("data"))
    print_totals(rows, Path("data"))
    of_six, _, of_many, _ = capsys.readouterr().out.splitlines()
    assert of_six == "data/      6 pictures, 6 classes: 100 1, 101 1, 102 1, 103 1, 104 1, 105 1"
    assert of_many == "data/      150 pictures, 150 classes: 100 1, 101 1, 102 1 and 147 more"


def test_print_totals_does_not_count_a_class_without_usable_pictures(capsys):
    print_totals([*PICTURES, picture("cat/1.jpg", status=SKIPPED, reason="the file is empty")], Path("data"))
    assert capsys.readouterr().out.splitlines()[0] == "data/      6 pictures, 2 classes: ant 4, bee 2"


def test_describe_changes_counts_what_differs_from_the_last_run():
    one, other = picture("ant/1.jpg"), picture("ant/2.jpg")
    previous = [
        picture("ant/1.jpg", sha256="old"),
        picture("ant/2.jpg", shape="10x10x3"),
        picture("ant/3.jpg"),
        *(picture(f"old/{number}.jpg") for number in range(4)),
    ]
    assert describe_changes([*PICTURES, EXCLUDED_COPY], previous) == "5 new, 2 changed, 4 removed"
    assert describe_changes([one], [one]) == "unchanged"
    assert describe_changes([one, other], [one]) == "1 new"
    assert describe_changes([one], [picture("ant/1.jpg", sha256="old")]) == "1 changed"
    assert describe_changes([one], [one, other]) == "1 removed"


def test_print_reasons_names_each_of_ten_files_but_three_of_more(capsys):
    few = [picture(f"ant/{number}.jpg", status=SKIPPED, reason="is a\tpipe") for number in range(10)]
    many = [picture(f"bee/{number}.jpg", status=EXCLUDED, reason="is a\tlink") for number in range(11)]
    print_reasons([*few, *many], [SKIPPED, EXCLUDED])
    assert capsys.readouterr().out.splitlines() == [
        *(f"skipped rawdata/ant/{number}.jpg: is a\\tpipe" for number in range(10)),
        "excluded 11 files: is a\\tlink: rawdata/bee/0.jpg, rawdata/bee/1.jpg, rawdata/bee/2.jpg and 8 more (all are "
        "in manifest.csv)",
    ]


def test_print_reasons_leaves_out_other_statuses(capsys):
    print_reasons(
        [picture("ant/1.jpg", status=EXCLUDED, reason="its source has changed"), picture("ant/2.jpg")], [SKIPPED]
    )
    assert capsys.readouterr().out == ""


def test_print_reasons_tells_what_images_do_not_show(capsys):
    notes = [picture(f"ant/{number}\t.jpg", note="only the\tfirst page") for number in range(3)]
    skipped = picture("ant/4.jpg", status=SKIPPED, note="of no image")
    print_reasons([*notes, picture("ant/3.jpg", note="almost black"), skipped], [SKIPPED])
    assert capsys.readouterr().out.splitlines() == [
        "3 pictures: only the\\tfirst page: rawdata/ant/0\\t.jpg, rawdata/ant/1\\t.jpg, rawdata/ant/2\\t.jpg",
        "rawdata/ant/3.jpg: almost black",
    ]


def test_finding_lines_name_three_and_the_column_with_all():
    def finding(*names: str) -> Finding:
        return Finding("dark", "very dark", [], list(names))

    assert finding_lines([finding("ant/a\t.jpg")]) == ["ant/a\\t.jpg: very dark"]
    assert finding_lines([finding("a", "b", "c")]) == ["3 pictures: very dark: a, b, c"]
    four = finding("a", "b", "c", "d")
    assert finding_lines([four]) == ["4 pictures: very dark: a, b, c and 1 more (column remarks of manifest.csv)"]
    assert finding_lines([four], in_manifest=False) == ["4 pictures: very dark: a, b, c and 1 more"]
