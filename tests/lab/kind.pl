# Takes more memory than the budget, reads it again, and says how the tier in the folder ARGV[0] holds what is cold:
# mapped into the process, or read and written. A wrong byte is exit code 1.
# Without modules: the machine that it runs in has none (perl -w).
my @text = map { chr(65 + $_ % 26) x (1 << 20) } 0 .. 159;
for my $i (0 .. $#text) {
  substr($text[$i], -1) eq chr(65 + $i % 26) && $text[$i] =~ tr/A-Z// == 1 << 20 or die "text $i was changed";
}
open(my $maps, '<', '/proc/self/maps') or die "maps: $!";
my $mapped = grep { index($_, " $ARGV[0]/") >= 0 } <$maps>;
print $mapped ? "mapped\n" : "read and written\n";
