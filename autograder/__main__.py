"""The program `autograder`. Students' copies have two of its commands, `check` and `doctor`."""

import atexit
import gc
import sys


def main() -> None:
    match sys.argv[1:2]:
        case ["doctor"]:
            from .doctor import main as doctor

            sys.exit(doctor(sys.argv[2:]))
        case ["check"]:
            try:
                from .home import main as check
            except ModuleNotFoundError as error:
                sys.exit(f"`{error.name}` is missing: `python -m autograder doctor` says what to install.")
            sys.exit(check(sys.argv[2:]))
    try:
        if sys.argv[1:2] == ["grade"]:
            from .kernels.provisioner import WarmProvisioner

            WarmProvisioner.share()  # it imports torch while this process imports nbgrader
        gc.disable()  # a tenth of the imports' time: it finds nothing
        from .grading.app import main as run

        gc.enable()
        atexit.register(gc.freeze)  # or Python's end goes through everything once more, for half a second
    except ModuleNotFoundError as error:
        if error.name not in ("autograder.grading", "autograder.kernels"):
            sys.exit(f"`{error.name}` is missing: pip install 'tinybert-fine-tuning-lesson[instructor]'.")
        sys.exit(
            "This copy has two commands: `autograder check NOTEBOOK` says what is right in your notebook, "
            "`autograder doctor` what this machine lacks. All others are for instructors."
        )
    run()


if __name__ == "__main__":
    main()
