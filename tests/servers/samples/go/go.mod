module tea

go 1.19
