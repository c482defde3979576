"""The program `autograder`; students' copies come without its commands."""

import sys


def main() -> None:
    try:
        if sys.argv[1:2] == ["grade"]:
            from .kernels.provisioner import WarmProvisioner

            WarmProvisioner.share()  # it imports torch while this process imports nbgrader
        from .grading.app import main as run
    except ModuleNotFoundError as error:
        if error.name not in ("autograder.grading", "autograder.kernels"):
            sys.exit(f"`{error.name}` is missing: pip install 'tinybert-fine-tuning-lesson[instructor]'.")
        sys.exit("The commands of `autograder` are for instructors and not part of this copy.")
    run()


if __name__ == "__main__":
    main()
