"""The program `autograder`; students' copies come without its commands."""

import sys


def main():
    try:
        from .grading.app import main as run
    except ModuleNotFoundError as error:
        if error.name != "autograder.grading":
            raise
        sys.exit("The commands of `autograder` are for instructors and not part of this copy.")
    run()


if __name__ == "__main__":
    main()
