"""The images of a folder, and what else lies there."""

from __future__ import annotations

from pathlib import Path

from anyformer.images.files import images_below, mostly_images


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_hidden_files_and_others_are_left_out_with_a_word(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "a/2.PNG",
        "a/1.jpeg",
        "b/deep/er/3.gif",
        "a/Thumbs.db",
        ".DS_Store",
        "a/._1.jpeg",
        "a/@eaDir/1.jpg",
    )
    touch(tmp_path, "__MACOSX/a/1.jpeg", "a/notes.txt", "list.csv", "b/clip.mp4", "b/readme.md")
    remarks: list[str] = []
    found = [path.relative_to(tmp_path).as_posix() for path in images_below(tmp_path, remarks)]
    assert found == ["a/1.jpeg", "a/2.PNG", "b/deep/er/3.gif"]
    assert remarks == [
        "left out: .DS_Store, __MACOSX/a/1.jpeg, a/._1.jpeg and 2 more files, hidden or left behind by a system",
        "left out: a/notes.txt, b/clip.mp4, b/readme.md and 1 more files, no images by their names",
    ]


def test_folders_that_are_mostly_images(tmp_path: Path) -> None:
    assert not mostly_images(tmp_path)
    touch(tmp_path, "a.png", "b.txt", ".hidden", "Thumbs.db")
    assert mostly_images(tmp_path)
    touch(tmp_path, "c.txt")
    assert not mostly_images(tmp_path)
