"""What the terminal says about the pictures of a run."""

from pathlib import Path

from pictures.copy_names import copy_name
from pictures.manifest import EXCLUDED, KEPT, SKIPPED, TRAIN, VALIDATION, Picture
from pictures.report import print_reasons, report


def picture(name: str, **values) -> Picture:
    return Picture(**{"class_name": name[:3], "source": name, "path": f"rawdata/{name}", "status": KEPT} | values)


def test_report_counts_the_pictures_of_each_class_and_the_changes(capsys):
    copy = copy_name("ant/1.jpg", "0" * 64, 0)
    excluded = copy_name("ant/3.jpg", "0" * 64, 0)
    pictures = [
        picture("bee/1.jpg", split=TRAIN),
        picture("bee/2.jpg", split=VALIDATION),
        picture("ant/1.jpg", split=TRAIN, sha256="new"),
        picture("ant/2.jpg", split=TRAIN, shape="20x20x3"),
        picture("ant/3.jpg", split=VALIDATION),
        picture("ant/4.jpg", status=SKIPPED, reason="the file is empty"),
        picture(copy, source="ant/1.jpg", split=TRAIN),
        picture(excluded, source="ant/3.jpg", status=EXCLUDED, reason="its source is used for validation"),
    ]
    previous = [
        picture("ant/1.jpg", sha256="old"),
        picture("ant/2.jpg", shape="10x10x3"),
        picture("ant/3.jpg"),
        *(picture(f"old/{number}.jpg") for number in range(4)),
    ]
    report(pictures, previous, Path("a\tb"))
    assert capsys.readouterr().out.splitlines() == [
        "class                   kept   train  valid.  copies skipped excluded",
        "ant                        4       3       1       1       1        1",
        "bee                        2       1       1       0       0        0",
        "skipped rawdata/ant/4.jpg: the file is empty",
        "a\\tb/: 6 pictures; 5 new, 2 changed, 4 removed",
    ]


def test_report_tells_of_changes_unless_there_are_none(capsys):
    one, other = picture("ant/1.jpg"), picture("ant/2.jpg")
    for pictures, previous, changes in [
        ([one], [one], "nothing has changed"),
        ([one, other], [one], "1 new, 0 changed, 0 removed"),
        ([one], [picture("ant/1.jpg", sha256="old")], "0 new, 1 changed, 0 removed"),
        ([one], [one, other], "0 new, 0 changed, 1 removed"),
    ]:
        report(pictures, previous, Path("data"))
        assert capsys.readouterr().out.splitlines()[-1] == f"data/: {len(pictures)} pictures; {changes}"


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
        "1 picture: almost black: rawdata/ant/3.jpg",
    ]
