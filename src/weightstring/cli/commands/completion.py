"""``weightstring completion``: what makes a shell's TAB key complete weightstring."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

from weightstring.cli.ending import DONE

HELP = "print what makes a shell's TAB key complete weightstring"

HOW = """\
once, for every shell to come:
  bash  echo 'eval "$(weightstring completion bash)"' >> ~/.bashrc
  zsh   echo 'eval "$(weightstring completion zsh)"' >> ~/.zshrc  (below compinit)
  fish  weightstring completion fish > ~/.config/fish/completions/weightstring.fish"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.formatter_class, parser.epilog = RawDescriptionHelpFormatter, HOW
    shells = ["bash", "zsh", "fish"]
    parser.add_argument("shell", choices=shells, metavar="|".join(shells), help="which one")


def run(options: Namespace) -> int:
    """Print the shell's code."""
    from argcomplete.shell_integration import shellcode

    print(shellcode(["weightstring"], use_defaults=False, shell=options.shell))
    return DONE
